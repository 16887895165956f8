# SPDX-License-Identifier: Apache-2.0
"""The XML documents S3 answers with, and the two it takes in. Written as text: a test needs each byte as it is."""

import time
import xml.etree.ElementTree as ElementTree
from urllib.parse import quote

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'


class BadXml(Exception):
    """A request document that S3 would refuse as MalformedXML."""


def escape(text):
    """Escape text as S3 does: control characters become references, though XML 1.0 forbids most of them."""
    out = []
    for char in text:
        if char in "&<>\"":
            out.append({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}[char])
        elif char < " " or char == "\x7f":
            out.append("&#x%x;" % ord(char))
        else:
            out.append(char)
    return "".join(out)


def element(name, text):
    return "<%s>%s</%s>" % (name, escape(str(text)), name)


def document(name, *parts):
    return (DECLARATION + '<%s xmlns="%s">' % (name, NAMESPACE) + "".join(parts) + "</%s>" % name).encode()


def iso_ms(epoch_s):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(epoch_s)) + ".%03dZ" % (epoch_s % 1 * 1000)


def error(code, message, request_id, resource="", **details):
    fields = [element("Code", code), element("Message", message)]
    fields += [element(n, v) for n, v in details.items()]
    if resource:
        fields.append(element("Resource", resource))
    fields += [element("RequestId", request_id), element("HostId", "fake/" + request_id)]
    return (DECLARATION + "<Error>" + "".join(fields) + "</Error>").encode()


class KeyText:
    """How keys appear in a listing: percent-encoded when asked for with encoding-type=url."""

    def __init__(self, url_encoded):
        self.url_encoded = url_encoded

    def element(self, name, key):
        return element(name, quote(key, safe="/~") if self.url_encoded else key.decode())

    def note(self):
        return element("EncodingType", "url") if self.url_encoded else ""


def list_objects(bucket, query, entries, prefixes, truncated, next_token):
    """`entries`: (key, Object). `query`: the listing's parameters as text."""
    keys = KeyText(query.get("encoding-type") == "url")
    parts = [element("Name", bucket), keys.element("Prefix", query.get("prefix", "").encode())]
    if "delimiter" in query:
        parts.append(keys.element("Delimiter", query["delimiter"].encode()))
    if "start-after" in query:
        parts.append(keys.element("StartAfter", query["start-after"].encode()))
    if "continuation-token" in query:
        parts.append(element("ContinuationToken", query["continuation-token"]))
    if next_token:
        parts.append(element("NextContinuationToken", next_token))
    parts += [element("KeyCount", len(entries) + len(prefixes)), element("MaxKeys", query.get("max-keys", "1000")), keys.note(),
              element("IsTruncated", "true" if truncated else "false")]
    parts += [contents(keys, key, obj, query.get("fetch-owner") == "true") for key, obj in entries]
    parts += ["<CommonPrefixes>" + keys.element("Prefix", p) + "</CommonPrefixes>" for p in prefixes]
    return document("ListBucketResult", *parts)


def contents(keys, key, obj, with_owner):
    owner = "<Owner><ID>fake</ID><DisplayName>fake</DisplayName></Owner>" if with_owner else ""
    storage_class = next((v for n, v in obj.headers if n == "x-amz-storage-class"), "STANDARD")
    return "<Contents>%s%s%s%s%s%s</Contents>" % (
        keys.element("Key", key), element("LastModified", iso_ms(obj.modified_s)), element("ETag", '"%s"' % obj.etag),
        element("Size", len(obj.blob)), owner, element("StorageClass", storage_class))


def list_uploads(bucket, query, uploads, truncated):
    keys = KeyText(query.get("encoding-type") == "url")
    parts = [element("Bucket", bucket), keys.element("KeyMarker", query.get("key-marker", "").encode()),
             element("UploadIdMarker", query.get("upload-id-marker", ""))]
    if truncated:
        parts += [keys.element("NextKeyMarker", uploads[-1].key), element("NextUploadIdMarker", uploads[-1].upload_id)]
    parts += [keys.element("Prefix", query.get("prefix", "").encode()), element("MaxUploads", query.get("max-uploads", "1000")),
              keys.note(), element("IsTruncated", "true" if truncated else "false")]
    for upload in uploads:
        parts.append("<Upload>%s%s<StorageClass>STANDARD</StorageClass>%s</Upload>" % (
            keys.element("Key", upload.key), element("UploadId", upload.upload_id), element("Initiated", iso_ms(upload.initiated_s))))
    return document("ListMultipartUploadsResult", *parts)


def list_versions(bucket, query, rows, truncated):
    """`rows`: (key, Object, is latest)."""
    keys = KeyText(query.get("encoding-type") == "url")
    parts = [element("Name", bucket), keys.element("Prefix", query.get("prefix", "").encode()),
             keys.element("KeyMarker", query.get("key-marker", "").encode()), element("VersionIdMarker", query.get("version-id-marker", "")),
             element("MaxKeys", query.get("max-keys", "1000")), keys.note(), element("IsTruncated", "true" if truncated else "false")]
    if truncated:
        parts += [keys.element("NextKeyMarker", rows[-1][0]), element("NextVersionIdMarker", rows[-1][1].version_id)]
    for key, obj, latest in rows:
        fields = [keys.element("Key", key), element("VersionId", obj.version_id), element("IsLatest", "true" if latest else "false"),
                  element("LastModified", iso_ms(obj.modified_s))]
        if not obj.marker:
            fields += [element("ETag", '"%s"' % obj.etag), element("Size", len(obj.blob)), element("StorageClass", "STANDARD")]
        name = "DeleteMarker" if obj.marker else "Version"
        parts.append("<%s>%s</%s>" % (name, "".join(fields), name))
    return document("ListVersionsResult", *parts)


def list_parts(bucket, key, upload_id, marker, numbered, truncated, max_parts):
    parts = [element("Bucket", bucket), element("Key", key), element("UploadId", upload_id), element("PartNumberMarker", marker)]
    if truncated:
        parts.append(element("NextPartNumberMarker", numbered[-1][0]))
    parts += [element("MaxParts", max_parts), element("IsTruncated", "true" if truncated else "false")]
    for number, part in numbered:
        sums = "".join(element(n, v) for n, v in part.checksums.items())
        parts.append("<Part>%s%s%s%s%s</Part>" % (element("PartNumber", number), element("LastModified", iso_ms(part.modified_s)),
                                                   element("ETag", '"%s"' % part.etag), sums, element("Size", len(part.blob))))
    return document("ListPartsResult", *parts)


def list_buckets(buckets):
    rows = ["<Bucket>%s%s</Bucket>" % (element("Name", b.name), element("CreationDate", iso_ms(b.created_s))) for b in buckets]
    return document("ListAllMyBucketsResult", "<Owner><ID>fake</ID></Owner><Buckets>", *rows, "</Buckets>")


def initiated(bucket, key, upload_id):
    return document("InitiateMultipartUploadResult", element("Bucket", bucket), element("Key", key), element("UploadId", upload_id))


def completed(location, bucket, key, etag):
    return document("CompleteMultipartUploadResult", element("Location", location), element("Bucket", bucket), element("Key", key),
                    element("ETag", '"%s"' % etag))


def version_element(version_id):
    return "" if version_id is None else element("VersionId", version_id)


def deleted(keys, failures, quiet):
    """`keys`: (key, version id or None); `failures`: (key, version id or None, code, message)."""
    rows = [] if quiet else ["<Deleted>%s%s</Deleted>" % (element("Key", k), version_element(v)) for k, v in keys]
    rows += ["<Error>%s%s%s%s</Error>" % (element("Key", k), version_element(v), element("Code", c), element("Message", m))
             for k, v, c, m in failures]
    return document("DeleteResult", *rows)


# ---- documents that come in ----------------------------------------------------------------------------------


def parse(body, root_name):
    if b"<!" in body:
        raise BadXml("declarations are not accepted")
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError as failure:
        raise BadXml(str(failure)) from None
    if local(root) != root_name:
        raise BadXml("root element is '%s', not '%s'" % (local(root), root_name))
    return root


def local(node):
    space, _, name = node.tag.rpartition("}")
    if space and space != "{" + NAMESPACE:
        raise BadXml("namespace '%s'" % space[1:])
    return name


def fields_of(node, allowed):
    fields = {}
    for child in node:
        name = local(child)
        if name not in allowed or name in fields:
            raise BadXml("element '%s' in '%s'" % (name, local(node)))
        fields[name] = child.text or ""
    return fields


PART_SUMS = ("ChecksumCRC32", "ChecksumCRC32C", "ChecksumCRC64NVME", "ChecksumSHA1", "ChecksumSHA256")


def parse_complete(body):
    """Return [(number, etag without quotes, {checksum element: value})] in the document's order."""
    wanted = []
    for node in parse(body, "CompleteMultipartUpload"):
        fields = fields_of(node, ("PartNumber", "ETag") + PART_SUMS)
        if local(node) != "Part" or not fields.get("PartNumber", "").isdigit() or "ETag" not in fields:
            raise BadXml("a Part needs PartNumber and ETag")
        sums = {n: fields[n] for n in PART_SUMS if n in fields}
        wanted.append((int(fields["PartNumber"]), fields["ETag"].strip().strip('"'), sums))
    if not 1 <= len(wanted) <= 10000:
        raise BadXml("%d parts" % len(wanted))
    return wanted


def parse_delete(body):
    """Return ([(key, version id or None)], quiet)."""
    keys, quiet = [], False
    for node in parse(body, "Delete"):
        if local(node) == "Quiet":
            quiet = (node.text or "").strip() == "true"
        elif local(node) == "Object":
            fields = fields_of(node, ("Key", "VersionId", "ETag"))
            if not fields.get("Key"):
                raise BadXml("an Object needs a Key")
            if fields.get("VersionId") == "":
                raise BadXml("a VersionId is empty")
            keys.append((fields["Key"], fields.get("VersionId")))
        else:
            raise BadXml("element '%s' in 'Delete'" % local(node))
    if not 1 <= len(keys) <= 1000:
        raise BadXml("%d keys, not 1 to 1000" % len(keys))
    return keys, quiet


def parse_versioning(body):
    fields = fields_of(parse(body, "VersioningConfiguration"), ("Status", "MfaDelete"))
    if fields.get("Status") not in ("Enabled", "Suspended"):
        raise BadXml("Status is '%s'" % fields.get("Status"))
    return fields["Status"]


def parse_lock(body):
    """Return (mode, seconds) of the default retention; ("", 0) without a rule."""
    root = parse(body, "ObjectLockConfiguration")
    found = {local(node): (node.text or "").strip() for node in root.iter()}
    if found.get("ObjectLockEnabled") != "Enabled":
        raise BadXml("ObjectLockEnabled is not Enabled")
    if "Rule" not in found:
        return "", 0
    mode, days, years = found.get("Mode"), found.get("Days", "0"), found.get("Years", "0")
    if mode not in ("GOVERNANCE", "COMPLIANCE") or not (days + years).isdigit() or (int(days) > 0) == (int(years) > 0):
        raise BadXml("a rule has Mode and either Days or Years")
    return mode, (int(days) + 365 * int(years)) * 86400
