# SPDX-License-Identifier: Apache-2.0
"""The S3 operations: which request means which, what each may carry, and what each does to the store."""

import base64
import calendar
import re
import time
from dataclasses import dataclass

from s3 import xmlout
from s3.http1 import Response
from s3.sigv4 import UNSIGNED_PAYLOAD, claimed_access_key, decode_component, query_pairs
from s3.store import Conditions, Lock, Object, Part, S3Error, no_such_upload

KEY_LEN_MAX = 1024
METADATA_LEN_MAX = 2048
HEADERS_LEN_MAX = 8192
PUT_LEN_MAX = 5 * 1024 ** 3
XML_LEN_MAX = 2 * 1024 ** 2
PAGE_MAX = 1000
LOCK_DIGEST = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters"
BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")

COMMON_HEADERS = {"x-amz-date", "x-amz-content-sha256", "x-amz-security-token", "x-amz-expected-bucket-owner", "x-amz-request-payer"}
SSE_HEADERS = {"x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id",
               "x-amz-server-side-encryption-context", "x-amz-server-side-encryption-bucket-key-enabled"}
STORED_HEADERS = SSE_HEADERS | {"x-amz-storage-class", "x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date",
                                "x-amz-object-lock-legal-hold", "x-amz-website-redirect-location"}
STORED_PLAIN = ("content-type", "content-encoding", "content-disposition", "content-language", "cache-control", "expires")
WRITE_HEADERS = STORED_HEADERS | {"x-amz-acl", "x-amz-tagging", "x-amz-meta-*"}
SUMS = {"x-amz-checksum-crc32": "crc32", "x-amz-checksum-crc32c": "crc32c", "x-amz-checksum-sha1": "sha1",
        "x-amz-checksum-sha256": "sha256"}
SUM_HEADERS = set(SUMS) | {"x-amz-sdk-checksum-algorithm"}
CONDITIONAL = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range")


@dataclass(frozen=True)
class Spec:
    """One operation. `needs`: query names that select it; `may`: others it takes."""

    name: str
    method: str
    level: str
    needs: tuple = ()
    may: tuple = ()
    amz: frozenset = frozenset()
    conditions: tuple = ()
    body: str = ""          # "": none allowed; "xml": a document; "data": the object's bytes


def _spec(name, method, level, needs=(), may=(), amz=(), conditions=(), body=""):
    return Spec(name, method, level, needs, may, frozenset(amz), conditions, body)


SPECS = (
    _spec("ListBuckets", "GET", "service"),
    _spec("CreateBucket", "PUT", "bucket", amz={"x-amz-acl", "x-amz-bucket-object-lock-enabled", "x-amz-object-ownership"}, body="xml"),
    _spec("HeadBucket", "HEAD", "bucket"),
    _spec("DeleteBucket", "DELETE", "bucket"),
    _spec("GetBucketLocation", "GET", "bucket", ("location",)),
    _spec("GetBucketVersioning", "GET", "bucket", ("versioning",)),
    _spec("PutBucketVersioning", "PUT", "bucket", ("versioning",), amz=SUM_HEADERS, body="xml"),
    _spec("PutObjectLockConfiguration", "PUT", "bucket", ("object-lock",), amz=SUM_HEADERS, body="xml"),
    _spec("ListObjectVersions", "GET", "bucket", ("versions",),
          ("prefix", "key-marker", "version-id-marker", "max-keys", "encoding-type")),
    _spec("ListObjectsV2", "GET", "bucket", ("list-type",),
          ("prefix", "delimiter", "start-after", "continuation-token", "max-keys", "encoding-type", "fetch-owner")),
    _spec("ListMultipartUploads", "GET", "bucket", ("uploads",),
          ("prefix", "key-marker", "upload-id-marker", "max-uploads", "encoding-type")),
    _spec("DeleteObjects", "POST", "bucket", ("delete",), amz=SUM_HEADERS | {"x-amz-bypass-governance-retention"}, body="xml"),
    _spec("PutObject", "PUT", "object", amz=WRITE_HEADERS | SUM_HEADERS, conditions=("if-match", "if-none-match"), body="data"),
    _spec("GetObjectRetention", "GET", "object", ("retention",), ("versionId",)),
    _spec("GetObjectLegalHold", "GET", "object", ("legal-hold",), ("versionId",)),
    _spec("GetObject", "GET", "object", (), ("versionId",), amz={"x-amz-checksum-mode"}, conditions=("if-match", "if-none-match", "range")),
    _spec("HeadObject", "HEAD", "object", (), ("versionId",), amz={"x-amz-checksum-mode"}, conditions=("if-match", "if-none-match", "range")),
    _spec("DeleteObject", "DELETE", "object", (), ("versionId",), amz={"x-amz-bypass-governance-retention"}, conditions=("if-match",)),
    _spec("CreateMultipartUpload", "POST", "object", ("uploads",),
          amz=WRITE_HEADERS | {"x-amz-checksum-algorithm", "x-amz-checksum-type"}),
    _spec("UploadPart", "PUT", "object", ("partNumber", "uploadId"), amz=SUM_HEADERS, body="data"),
    _spec("CompleteMultipartUpload", "POST", "object", ("uploadId",), amz={"x-amz-mp-object-size", "x-amz-checksum-type"},
          conditions=("if-match", "if-none-match"), body="xml"),
    _spec("AbortMultipartUpload", "DELETE", "object", ("uploadId",)),
    _spec("ListParts", "GET", "object", ("uploadId",), ("max-parts", "part-number-marker")),
)


class Call:
    """One request, understood: operation, bucket, key and parameters. Raises nothing; `check` does."""

    def __init__(self, request, virtual_domain=None):
        self.request = request
        self.pairs = query_pairs(request.query)
        self.names = [n.decode("utf-8", "replace") for n, _ in self.pairs]
        self.bucket, self.raw_key = self._split(request, virtual_domain)
        self.key = decode_component(self.raw_key)
        self.level = ("object" if self.key else "bucket") if self.bucket else ("path-style" if self.key else "service")
        self.spec = self._find_spec()
        self.op = self.spec.name if self.spec else self._unknown_name()
        self.body = None            # Intake, once read
        self.client = claimed_access_key(request)
        self.ignore_conditions = False
        self.ignore_range = False
        self.list_lag_s = 0
        self.racy = self.minio_markers = False
        self.delete_errors = None   # {"key": regular expression, "code": ...}: DeleteObjects fails these
        self.refuse = None          # an S3Error, once the request has passed its checks

    def lessen(self, options):
        """What this server, as a whole, does less than S3."""
        if options.no_conditional and self.request.method in ("PUT", "POST", "DELETE"):
            self.ignore_conditions = True
        self.racy, self.minio_markers = options.racy_versions, options.minio_markers
        if options.no_list_uploads and self.op == "ListMultipartUploads":
            self.refuse = S3Error(501, "NotImplemented", "A header you provided implies functionality that is not implemented")
        length = self.request.content_length() or 0
        if options.delete_body_max is not None and self.op == "DeleteObjects" and length > options.delete_body_max:
            self.refuse = S3Error(413, "EntityTooLarge", "Your request was too big.")

    @staticmethod
    def _split(request, virtual_domain):
        path = request.path[1:]
        if virtual_domain is None:
            bucket, _, key = path.partition("/")
            return decode_component(bucket).decode("utf-8", "replace"), key
        host = (request.all("host")[0]).rsplit(":", 1)[0].lower()
        return (host[:-len(virtual_domain) - 1], path) if host.endswith("." + virtual_domain) else ("", path)

    def _find_spec(self):
        own = {n for n in self.names if not n.startswith("X-Amz-")}
        fitting = [s for s in SPECS if s.method == self.request.method and s.level == self.level and set(s.needs) <= own]
        best = max(fitting, key=lambda s: len(s.needs), default=None)
        return best if best and own <= set(best.needs) | set(best.may) | {"x-id"} else None

    def _unknown_name(self):
        return "Unknown:%s %s ?%s" % (self.request.method, self.level, "&".join(sorted(self.names)))

    def text(self, name, default=None):
        """A query parameter as text."""
        for key, value in self.pairs:
            if key == name.encode():
                return utf8(value, name)
        return default

    def number(self, name, default, low, high):
        value = self.text(name)
        if value is None:
            return default
        if not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
            raise S3Error(400, "InvalidArgument", "%s must be %d to %d" % (name, low, high), ArgumentName=name, ArgumentValue=value)
        return int(value)

    def query(self):
        return {n: self.text(n) for n in self.names}

    def conditions(self):
        if self.ignore_conditions:
            return Conditions()
        return Conditions(unquoted(self.request.one("if-match")), unquoted(self.request.one("if-none-match")))


def utf8(raw, what):
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise S3Error(400, "InvalidURI", "%s is not valid UTF-8" % what) from None


def unquoted(etag):
    return None if etag is None else etag.strip().strip('"')


# ---- what a request may carry --------------------------------------------------------------------------------


def check(call):
    """Refuse what the operation does not take: unknown parameters, headers, forms of body."""
    request = call.request
    if call.bucket and not BUCKET_NAME.match(call.bucket):
        raise S3Error(400, "InvalidBucketName", "The specified bucket is not valid.", BucketName=call.bucket)
    if len(call.key) > KEY_LEN_MAX:
        raise S3Error(400, "KeyTooLongError", "Your key is too long", Size=str(len(call.key)), MaxSizeAllowed=str(KEY_LEN_MAX))
    utf8(call.key, "the key")
    if call.spec is None:
        raise S3Error(501, "NotImplemented", "The fake does not do '%s'" % call.op)
    repeated = sorted({n for n in call.names if call.names.count(n) > 1})
    if repeated:
        raise S3Error(400, "InvalidArgument", "query parameters sent more than once: %s" % ", ".join(repeated))
    check_headers(call, request)
    check_length(call, request)


def check_headers(call, request):
    size = sum(len(n) + len(v) + 4 for n, v in request.headers)
    if size > HEADERS_LEN_MAX:
        raise S3Error(400, "RequestHeaderSectionTooLarge", "Your request header section exceeds the maximum allowed size.",
                      MaxSizeAllowed=str(HEADERS_LEN_MAX))
    for name, value in request.headers:
        request.one(name)
        amz_ok = name in COMMON_HEADERS or name in call.spec.amz or (name.startswith("x-amz-meta-") and "x-amz-meta-*" in call.spec.amz)
        if name.startswith("x-amz-") and not amz_ok:
            raise S3Error(400, "InvalidArgument", "%s does not take the header %s" % (call.op, name), ArgumentName=name, ArgumentValue=value)
        if name in CONDITIONAL and name not in call.spec.conditions:
            raise S3Error(501, "NotImplemented", "A header you provided implies functionality that is not implemented", Header=name)
    if request.method in ("PUT", "POST") and request.one("if-none-match") not in (None, "*"):
        raise S3Error(501, "NotImplemented", "A header you provided implies functionality that is not implemented", Header="If-None-Match")
    metadata = sum(len(n) - len("x-amz-meta-") + len(v) for n, v in request.headers if n.startswith("x-amz-meta-"))
    if metadata > METADATA_LEN_MAX:
        raise S3Error(400, "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size",
                      Size=str(metadata), MaxSizeAllowed=str(METADATA_LEN_MAX))


def check_length(call, request):
    if request.one("transfer-encoding") is not None:
        raise S3Error(501, "NotImplemented", "A header you provided implies functionality that is not implemented", Header="Transfer-Encoding")
    length = request.content_length()
    if length is None and call.spec.body and call.op != "CreateBucket":
        raise S3Error(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
    if length and not call.spec.body:
        raise S3Error(400, "InvalidRequest", "%s takes no body, %d bytes were announced" % (call.op, length))
    limit = {"data": PUT_LEN_MAX, "xml": XML_LEN_MAX, "": 0}[call.spec.body]
    if length and length > limit:
        raise S3Error(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size", ProposedSize=str(length),
                      MaxSizeAllowed=str(limit))


def hashes_for(call, payload_hash):
    """The digests to take while the body comes in."""
    wanted = {SUMS[n] for n, _ in call.request.headers if n in SUMS}
    if payload_hash != UNSIGNED_PAYLOAD:
        wanted.add("sha256")
    return wanted


def check_body(call, payload_hash):
    """The body has come in: compare it with what the headers say."""
    request, body = call.request, call.body
    if payload_hash != UNSIGNED_PAYLOAD and body.hex("sha256") != payload_hash:
        raise S3Error(400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.",
                      ClientComputedContentSHA256=payload_hash, S3ComputedContentSHA256=body.hex("sha256"))
    given = request.one("content-md5")
    if given is not None and len(decode64(given)) != 16:
        raise S3Error(400, "InvalidDigest", "The Content-MD5 you specified is not valid.", **{"Content-MD5": given})
    if given is not None and given != body.base64("md5"):
        raise S3Error(400, "BadDigest", "The Content-MD5 you specified did not match what we received.", ExpectedDigest=given,
                      CalculatedDigest=body.base64("md5"))
    for name, value in given_sums(request).items():
        if body.base64(SUMS[name]) != value:
            raise S3Error(400, "BadDigest", "The %s you specified did not match the calculated checksum." % name[len("x-amz-checksum-"):].upper())


def decode64(text):
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def given_sums(request):
    return {n: v for n, v in request.headers if n in SUMS}


# ---- the operations ------------------------------------------------------------------------------------------


class Operations:
    """Carries out calls. `options`: region, page_size; `clock()`: the server's time."""

    def __init__(self, store, region, page_size, clock):
        self.store = store
        self.region = region
        self.page_size = page_size
        self.clock = clock

    def run(self, call):
        if call.refuse is not None:
            raise call.refuse
        return getattr(self, "do_" + re.sub(r"(?<!^)(?=[A-Z])", "_", call.op).lower())(call)

    # -- service and buckets

    def do_list_buckets(self, _call):
        return xml(200, xmlout.list_buckets(sorted(self.store.buckets.values(), key=lambda b: b.name)))

    def do_create_bucket(self, call):
        if call.body.length:
            location = xmlout.parse(read_blob(call.body), "CreateBucketConfiguration")
            found = [(n.text or "") for n in location if xmlout.local(n) == "LocationConstraint"]
            if found != [self.region] or self.region == "us-east-1":
                raise S3Error(400, "InvalidLocationConstraint", "The specified location-constraint is not valid",
                              LocationConstraint=",".join(found))
        elif self.region != "us-east-1":
            raise S3Error(400, "IllegalLocationConstraintException", "The unspecified location constraint is incompatible for the region "
                          "specific endpoint this request was sent to.")
        self.store.create_bucket(call.bucket, self.clock())
        if call.request.one("x-amz-bucket-object-lock-enabled") == "true":
            self.store.set_lock(call.bucket)
        return Response(200, [("Location", "/" + call.bucket)])

    def do_head_bucket(self, call):
        self.store.bucket(call.bucket)
        return Response(200, [("x-amz-bucket-region", self.region)])

    def do_delete_bucket(self, call):
        self.store.delete_bucket(call.bucket)
        return Response(204)

    def do_get_bucket_location(self, call):
        self.store.bucket(call.bucket)
        return xml(200, xmlout.document("LocationConstraint", "" if self.region == "us-east-1" else self.region))

    def do_get_bucket_versioning(self, call):
        status = self.store.bucket(call.bucket).versioning
        return xml(200, xmlout.document("VersioningConfiguration", *([xmlout.element("Status", status)] if status else [])))

    def do_put_bucket_versioning(self, call):
        need_digest(call)
        self.store.set_versioning(call.bucket, xmlout.parse_versioning(read_blob(call.body)))
        return Response(200)

    def do_put_object_lock_configuration(self, call):
        need_digest(call)
        mode, seconds = xmlout.parse_lock(read_blob(call.body))
        self.store.set_lock(call.bucket, mode, seconds)
        return Response(200)

    # -- listings

    def do_list_objects_v2(self, call):
        if call.text("list-type") != "2":
            raise S3Error(400, "InvalidArgument", "list-type must be 2", ArgumentName="list-type", ArgumentValue=call.text("list-type"))
        check_encoding(call)
        limit = min(call.number("max-keys", PAGE_MAX, 0, 2 ** 31 - 1), PAGE_MAX, self.page_size)
        after = call.text("start-after", "").encode()
        if "continuation-token" in call.names:
            after = token_key(call.text("continuation-token"))
        delimiter = call.text("delimiter", "").encode()
        hidden_since = self.clock() - call.list_lag_s if call.list_lag_s else None
        found = self.store.list_keys(call.bucket, call.text("prefix", "").encode(), after, hidden_since)
        entries, prefixes, last, truncated = one_page(found, call.text("prefix", "").encode(), delimiter, after, limit)
        token = make_token(last) if truncated else None
        return xml(200, xmlout.list_objects(call.bucket, call.query(), entries, prefixes, truncated, token))

    def do_list_multipart_uploads(self, call):
        check_encoding(call)
        limit = min(call.number("max-uploads", PAGE_MAX, 1, PAGE_MAX), self.page_size)
        prefix, marker = call.text("prefix", "").encode(), (call.text("key-marker", "").encode(), call.text("upload-id-marker", ""))
        with self.store.lock:
            uploads = sorted(self.store.bucket(call.bucket).uploads.values(), key=lambda u: (u.key, u.upload_id))
        if marker[0] and not marker[1]:
            uploads = [u for u in uploads if u.key > marker[0]]
        elif marker[0]:
            uploads = [u for u in uploads if (u.key, u.upload_id) > marker]
        uploads = [u for u in uploads if u.key.startswith(prefix)]
        return xml(200, xmlout.list_uploads(call.bucket, call.query(), uploads[:limit], len(uploads) > limit))

    def do_list_object_versions(self, call):
        check_encoding(call)
        limit = min(call.number("max-keys", PAGE_MAX, 1, 2 ** 31 - 1), PAGE_MAX, self.page_size)
        key_marker, id_marker = call.text("key-marker", "").encode().partition(b"[minio_cache")[0], call.text("version-id-marker", "")
        if id_marker and not key_marker:
            raise S3Error(400, "InvalidArgument", "A version-id marker cannot be specified without a key marker.")
        rows, more = self.store.list_versions(call.bucket, call.text("prefix", "").encode(), key_marker, id_marker, limit)
        body = xmlout.list_versions(call.bucket, call.query(), rows, more)
        if call.minio_markers:
            mark = "%%5Bminio_cache%%3Av2%%2C%s%%3A%%5D" % ("id" if key_marker else "return")
            body = body.replace(b"</NextKeyMarker>", mark.encode() + b"</NextKeyMarker>")
        return xml(200, body)

    def do_list_parts(self, call):
        upload = self.store.upload(call.bucket, call.key, call.text("uploadId"))
        limit = min(call.number("max-parts", PAGE_MAX, 1, PAGE_MAX), self.page_size)
        marker = call.number("part-number-marker", 0, 0, 10000)
        with self.store.lock:
            numbered = sorted((n, p) for n, p in upload.parts.items() if n > marker)
        return xml(200, xmlout.list_parts(call.bucket, call.key.decode(), upload.upload_id, marker, numbered[:limit],
                                          len(numbered) > limit, limit))

    # -- objects

    def do_put_object(self, call):
        headers = stored_headers(call.request, self.clock())
        obj = Object(call.body.blob(), call.body.hex("md5"), self.clock(), plain_headers(headers), given_sums(call.request))
        obj.lock = self._lock_of(call, headers)
        self._need_lock_digest(call)
        conditions = call.conditions()
        if call.racy and self.store.bucket(call.bucket).versioning:
            self.store.check(call.bucket, call.key, conditions)
            time.sleep(0.05)        # whoever comes meanwhile finds nothing either
            conditions = Conditions()
        self.store.put(call.bucket, call.key, obj, conditions)
        return Response(200, [("ETag", '"%s"' % obj.etag)] + version_of(obj) + sse_of(headers) + list(obj.checksums.items()))

    def _lock_of(self, call, headers):
        """What the writer wants of the lock."""
        given = dict(headers)
        mode, hold = given.get("x-amz-object-lock-mode", ""), given.get("x-amz-object-lock-legal-hold") == "ON"
        if not mode and not hold:
            return None
        if not self.store.bucket(call.bucket).lockable:
            raise S3Error(400, "InvalidRequest", "Bucket is missing Object Lock Configuration")
        until = given.get("x-amz-object-lock-retain-until-date")
        return Lock(mode, parse_iso(until) if until else 0, hold)

    def _need_lock_digest(self, call):
        if self.store.bucket(call.bucket).lock_mode and call.request.one("content-md5") is None and not given_sums(call.request):
            raise S3Error(400, "InvalidRequest", LOCK_DIGEST)

    def do_get_object_retention(self, call):
        lock = self._asked(call).lock
        if lock is None or not lock.mode:
            raise no_lock(self.store.bucket(call.bucket))
        return xml(200, xmlout.document("Retention", xmlout.element("Mode", lock.mode),
                                        xmlout.element("RetainUntilDate", xmlout.iso_ms(lock.until_s))))

    def do_get_object_legal_hold(self, call):
        lock = self._asked(call).lock
        if lock is None or not lock.legal_hold:
            raise no_lock(self.store.bucket(call.bucket))
        return xml(200, xmlout.document("LegalHold", xmlout.element("Status", "ON")))

    def _asked(self, call):
        """The object a read means: a version, or the newest."""
        version_id = call.text("versionId")
        if version_id is None:
            return self.store.get(call.bucket, call.key)
        obj = self.store.get_version(call.bucket, call.key, version_id)
        if obj.marker:
            raise S3Error(405, "MethodNotAllowed", "The specified method is not allowed against this resource.", ResourceType="DeleteMarker")
        return obj

    def do_get_object(self, call):
        obj = self._asked(call)
        answer = self._object_answer(call, obj)
        given = None if call.ignore_range else call.request.one("range")
        chosen = parse_range(given, len(obj.blob)) if given else None
        if answer.status == 200 and chosen:
            answer.status, (answer.start, answer.end) = 206, chosen
            answer.headers.append(("Content-Range", "bytes %d-%d/%d" % (chosen[0], chosen[1] - 1, len(obj.blob))))
        return answer

    do_head_object = do_get_object      # the body is left out when it comes to sending

    @staticmethod
    def _object_answer(call, obj):
        conditions = call.conditions()
        if conditions.if_match not in (None, "*", obj.etag):
            raise S3Error(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", Condition="If-Match")
        headers = [("ETag", '"%s"' % obj.etag), ("Last-Modified", http_date(obj.modified_s)), ("Accept-Ranges", "bytes")]
        if conditions.if_none_match in ("*", obj.etag):
            return Response(304, headers)
        headers += [(n, v) for n, v in obj.headers if (n, v) != ("x-amz-storage-class", "STANDARD")] + version_of(obj) + lock_headers(obj)
        if not any(n == "content-type" for n, _ in obj.headers):
            headers.append(("Content-Type", "binary/octet-stream"))
        if call.request.one("x-amz-checksum-mode") == "ENABLED" and call.request.one("range") is None:
            headers += list(obj.checksums.items())
        return Response(200, headers, obj.blob)

    def do_delete_object(self, call):
        version_id = call.text("versionId")
        bypass = call.request.one("x-amz-bypass-governance-retention") == "true"
        if version_id is not None:
            self.store.delete_version(call.bucket, call.key, version_id, self.clock(), bypass)
            return Response(204, [("x-amz-version-id", version_id)])
        marker = self.store.delete(call.bucket, call.key, call.conditions(), self.clock())
        return Response(204, version_of(marker) + [("x-amz-delete-marker", "true")] if marker else [])

    def do_delete_objects(self, call):
        need_digest(call)
        keys, quiet = xmlout.parse_delete(read_blob(call.body))
        self.store.bucket(call.bucket)
        deleted, failures = [], []
        for key, version_id in keys:
            try:
                self._delete_one(call, key, version_id)
                deleted.append((key, version_id))
            except S3Error as failure:
                failures.append((key, version_id, failure.code, failure.message))
        return xml(200, xmlout.deleted(deleted, failures, quiet))

    def _delete_one(self, call, key, version_id):
        wanted = call.delete_errors
        if wanted and re.search(wanted["key"], key):
            raise S3Error(200, wanted["code"], wanted.get("message", "scripted"))
        if version_id is None:
            self.store.delete(call.bucket, key.encode(), Conditions(), self.clock())
        else:
            bypass = call.request.one("x-amz-bypass-governance-retention") == "true"
            self.store.delete_version(call.bucket, key.encode(), version_id, self.clock(), bypass)

    # -- multipart

    def do_create_multipart_upload(self, call):
        headers = stored_headers(call.request, self.clock())
        lock = self._lock_of(call, headers)
        upload_id = self.store.create_upload(call.bucket, call.key, plain_headers(headers), self.clock(), lock)
        return xml(200, xmlout.initiated(call.bucket, call.key.decode(), upload_id), sse_of(headers))

    def do_upload_part(self, call):
        number = call.number("partNumber", None, 1, 10000)
        self._need_lock_digest(call)
        sums = {"Checksum" + n[len("x-amz-checksum-"):].upper(): v for n, v in given_sums(call.request).items()}
        part = Part(call.body.blob(), call.body.hex("md5"), self.clock(), sums)
        self.store.put_part(call.bucket, call.key, call.text("uploadId"), number, part)
        return Response(200, [("ETag", '"%s"' % part.etag)] + list(given_sums(call.request).items()))

    def do_complete_multipart_upload(self, call):
        wanted = xmlout.parse_complete(read_blob(call.body))
        size = call.request.one("x-amz-mp-object-size")
        self._check_object_size(call, wanted, size)
        obj = self.store.complete_upload(call.bucket, call.key, call.text("uploadId"), wanted, call.conditions(), self.clock())
        location = "http://%s%s" % (call.request.one("host"), call.request.path)
        return xml(200, xmlout.completed(location, call.bucket, call.key.decode(), obj.etag), sse_of(obj.headers) + version_of(obj))

    def _check_object_size(self, call, wanted, size):
        if size is None:
            return
        parts = self.store.upload(call.bucket, call.key, call.text("uploadId")).parts
        total = sum(len(parts[n].blob) for n, _, _ in wanted if n in parts)
        if size != str(total):
            raise S3Error(400, "InvalidRequest", "The provided 'x-amz-mp-object-size' header value %s does not match what was computed: %d"
                          % (size, total))

    def do_abort_multipart_upload(self, call):
        if not call.text("uploadId"):
            raise no_such_upload("")
        self.store.abort_upload(call.bucket, call.key, call.text("uploadId"))
        return Response(204)


# ---- helpers -------------------------------------------------------------------------------------------------


def xml(status, body, headers=()):
    return Response(status, [("Content-Type", "application/xml")] + list(headers), body)


def read_blob(body):
    blob = body.blob()
    return b"".join(blob.pieces(0, len(blob)))


def http_date(epoch_s):
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(epoch_s))


def stored_headers(request, now_s):
    """What of a write's headers the object keeps and gives back."""
    kept = [(n, v) for n, v in request.headers if n in STORED_HEADERS or n in STORED_PLAIN or n.startswith("x-amz-meta-")]
    check_lock(request, now_s)
    tagging = request.one("x-amz-tagging")
    if tagging is not None:
        kept.append(("x-amz-tagging-count", str(len(query_pairs(tagging)))))
    return kept


def plain_headers(headers):
    """Without those of the lock, which changes by itself and is rendered anew."""
    return [(n, v) for n, v in headers if not n.startswith("x-amz-object-lock-")]


def version_of(obj):
    return [] if obj.version_id == "null" and not obj.marker else [("x-amz-version-id", obj.version_id)]


def lock_headers(obj):
    found = []
    if obj.lock is not None and obj.lock.mode:
        found += [("x-amz-object-lock-mode", obj.lock.mode), ("x-amz-object-lock-retain-until-date", xmlout.iso_ms(obj.lock.until_s))]
    if obj.lock is not None and obj.lock.legal_hold:
        found.append(("x-amz-object-lock-legal-hold", "ON"))
    return found


def no_lock(bucket):
    if not bucket.lockable:
        return S3Error(400, "InvalidRequest", "Bucket is missing Object Lock Configuration")
    return S3Error(404, "NoSuchObjectLockConfiguration", "The specified object does not have a ObjectLock configuration")


def parse_iso(text):
    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))


def need_digest(call):
    if call.request.one("content-md5") is None and not given_sums(call.request):
        raise S3Error(400, "InvalidRequest", "Missing required header for this request: Content-MD5")


def check_lock(request, now_s):
    mode, until = request.one("x-amz-object-lock-mode"), request.one("x-amz-object-lock-retain-until-date")
    hold = request.one("x-amz-object-lock-legal-hold")
    if (mode is None) != (until is None):
        raise S3Error(400, "InvalidArgument", "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied")
    if mode not in (None, "GOVERNANCE", "COMPLIANCE") or hold not in (None, "ON", "OFF"):
        raise S3Error(400, "InvalidArgument", "Unknown wormMode directive.")
    if until is not None and until[:19] <= time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now_s)):
        raise S3Error(400, "InvalidArgument", "The retain until date must be in the future!")
    with_digest = request.one("content-md5") or given_sums(request) or request.method == "POST"
    if (mode or hold) and not with_digest:
        raise S3Error(400, "InvalidRequest", LOCK_DIGEST)


def sse_of(headers):
    return [(n, v) for n, v in headers if n in SSE_HEADERS and not n.endswith("-context")]


def check_encoding(call):
    if call.text("encoding-type", "url") != "url":
        raise S3Error(400, "InvalidArgument", "Invalid Encoding Method specified in Request", ArgumentName="encoding-type")


def parse_range(text, length):
    """(start, end) of a Range header; None when S3 would ignore it; an error when nothing is left of it."""
    match = re.match(r"bytes=(\d*)-(\d*)\Z", text)
    if not match or match.group(0) == "bytes=-":
        return None
    first, last = match.groups()
    if first and last and int(first) > int(last):
        return None
    start = int(first) if first else max(length - int(last), 0)
    end = min(int(last) + 1, length) if first and last else length
    if start >= end:
        raise S3Error(416, "InvalidRange", "The requested range is not satisfiable", ActualObjectSize=str(length), RangeRequested=text)
    return start, end


# Continuation tokens hold "+", "/" and "=" on purpose: a client that does not escape them is found out.
def make_token(last):
    return "1+/" + base64.b64encode(last).decode() + "=="


def token_key(token):
    raw = decode64(token[3:-2]) if token.startswith("1+/") and token.endswith("==") else b""
    if not raw and token != make_token(b""):
        raise S3Error(400, "InvalidArgument", "The continuation token provided is incorrect", ArgumentName="continuation-token",
                      ArgumentValue=token)
    return raw


def one_page(found, prefix, delimiter, after, limit):
    """Return (entries, common prefixes, last key or prefix given, truncated)."""
    entries, prefixes, last = [], [], after
    if limit == 0:
        return entries, prefixes, last, False
    for key, obj in found:
        cut = key.find(delimiter, len(prefix)) if delimiter else -1
        group = key[:cut + len(delimiter)] if cut >= 0 else None
        if group is not None and group == last:
            continue
        if len(entries) + len(prefixes) == limit:
            return entries, prefixes, last, True
        if group is None:
            entries.append((key, obj))
            last = key
        else:
            prefixes.append(group)
            last = group
    return entries, prefixes, last, False
