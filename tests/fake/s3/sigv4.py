# SPDX-License-Identifier: Apache-2.0
"""AWS Signature Version 4, the verifying side.

Everything is computed from the bytes as they came over the wire, so that a client that escapes, sorts or joins
wrongly is found out instead of being understood. Pure functions and one class; no I/O.
"""

import calendar
import functools
import hashlib
import hmac
import re
import time
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
SKEW_MAX_S = 15 * 60
EXPIRES_MAX_S = 7 * 24 * 3600
UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
DATE_FORM = re.compile(r"\d{8}T\d{6}Z\Z")
HEX_64 = re.compile(r"[0-9a-f]{64}\Z")
# Sent without a signature, these could be added or changed on the way: the server insists on them.
MUST_SIGN = ("content-type", "content-md5")


class AuthError(Exception):
    """A refusal: HTTP status, S3 error code, message and further elements of the error document."""

    def __init__(self, status, code, message, **details):
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details


@dataclass
class Credentials:
    access_key: str
    secret_key: str
    session_token: str = ""


@dataclass
class Signed:
    """What a verified request was signed with."""

    signed_headers: list = field(default_factory=list)
    payload_hash: str = ""
    amz_date: str = ""
    presigned: bool = False


# ---- the rules -----------------------------------------------------------------------------------------------


def uri_encode(raw, keep=b""):
    """Percent-encode bytes, leaving the unreserved characters and those of `keep`."""
    return "".join(chr(b) if b in UNRESERVED or b in keep else "%%%02X" % b for b in raw)


def decode_component(text):
    """Percent-decode a path or query component to bytes; a plus sign stands for a space, as S3 reads it."""
    return unquote_to_bytes(text.replace("+", " ").encode("latin-1"))


def canonical_path_s3(wire_path):
    """S3: decode and encode once; nothing is normalised away."""
    return uri_encode(decode_component(wire_path), b"/") or "/"


def canonical_path_generic(wire_path, normalize=True):
    """Other services: drop dot segments and empty ones, then encode the wire path again."""
    path = uri_encode(wire_path.encode("latin-1"), b"/")
    if not normalize:
        return path or "/"
    kept = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    tail = "/" if kept and path.endswith(("/", "/.", "/..")) else ""
    return "/" + "/".join(kept) + tail


def query_pairs(wire_query):
    """Split a raw query into (name, value) byte pairs, in wire order."""
    pairs = []
    for item in wire_query.split("&") if wire_query else []:
        if item:
            name, _, value = item.partition("=")
            pairs.append((decode_component(name), decode_component(value)))
    return pairs


def canonical_query(wire_query, leave_out=()):
    """Names and values encoded, sorted by encoded name and then value; `leave_out` drops names."""
    encoded = sorted((uri_encode(n), uri_encode(v)) for n, v in query_pairs(wire_query) if n.decode("latin-1") not in leave_out)
    return "&".join("%s=%s" % pair for pair in encoded)


def canonical_header_value(value):
    return re.sub(" +", " ", value).strip(" ")      # bare strip() would take 0xA0 and 0x85, halves of UTF-8 characters


def canonical_headers(headers, names):
    """`headers`: (name, value) pairs in wire order; repeated ones are joined with a comma."""
    lines = []
    for name in names:
        values = [canonical_header_value(v) for n, v in headers if n.lower() == name]
        lines.append("%s:%s\n" % (name, ",".join(values)))
    return "".join(lines)


def canonical_request(method, path, query, headers, names, payload_hash):
    return "\n".join((method, path, query, canonical_headers(headers, names), ";".join(names), payload_hash))


def string_to_sign(amz_date, scope, request_text):
    digest = hashlib.sha256(request_text.encode("latin-1")).hexdigest()
    return "\n".join((ALGORITHM, amz_date, scope, digest))


def signing_key(secret_key, date, region, service):
    key = b"AWS4" + secret_key.encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def sign(key, text):
    return hmac.new(key, text.encode("latin-1"), hashlib.sha256).hexdigest()


def parse_authorization(value):
    """Take an Authorization header apart: (credential parts, signed header names, signature)."""
    malformed = "The authorization header is malformed; "
    scheme, _, rest = value.partition(" ")
    if scheme != ALGORITHM:
        raise AuthError(400, "InvalidRequest", "The authorization mechanism you have provided is not supported. Please use %s." % ALGORITHM)
    fields = {}
    for item in rest.split(","):
        name, equals, text = item.strip().partition("=")
        if not equals or name in fields:
            raise AuthError(400, "AuthorizationHeaderMalformed", malformed + "field '%s'" % name)
        fields[name] = text
    if sorted(fields) != ["Credential", "Signature", "SignedHeaders"]:
        raise AuthError(400, "AuthorizationHeaderMalformed", malformed + "fields %s" % sorted(fields))
    return split_credential(fields["Credential"]), fields["SignedHeaders"].split(";"), fields["Signature"]


def split_credential(text):
    parts = text.rsplit("/", 4)
    if len(parts) != 5:
        raise AuthError(400, "AuthorizationHeaderMalformed", "The authorization header is malformed; the Credential is mal-formed")
    return parts


def epoch_of(amz_date):
    if not DATE_FORM.match(amz_date or ""):
        raise AuthError(403, "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
    try:
        return calendar.timegm(time.strptime(amz_date, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        raise AuthError(403, "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header") from None


def iso_time(epoch_s):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch_s))


# ---- the verifier --------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=64)
def cached_signing_key(secret_key, date, region, service):
    return signing_key(secret_key, date, region, service)


def claimed_access_key(request):
    """Who a request says it is, before anything is checked; "" when it does not say."""
    found = re.search(r"\bCredential=([^/,]*)/", (request.all("authorization") + [""])[0])
    return found.group(1) if found else ""


class Verifier:
    """Checks requests for one set of credentials in one region; `clients`: further access keys and their secrets.

    A request needs: method, path (raw), query (raw), headers ((lower-case name, value) pairs), one(name).
    """

    def __init__(self, credentials, region, service="s3", clients=None):
        self.credentials = credentials
        self.secrets = {credentials.access_key: credentials.secret_key, **(clients or {})}
        self.region = region
        self.service = service

    def verify(self, request, now_s):
        """Return Signed, or raise AuthError. The payload is checked later, against Signed.payload_hash."""
        authorization = request.one("authorization")
        names = {n.decode("latin-1") for n, _ in query_pairs(request.query)}
        if authorization is None and "X-Amz-Signature" in names:
            return self._verify_presigned(request, now_s)
        if authorization is None:
            raise AuthError(403, "AccessDenied", "Access Denied: the request is not signed")
        return self._verify_header(request, authorization, now_s)

    def _verify_header(self, request, authorization, now_s):
        credential, names, signature = parse_authorization(authorization)
        amz_date = request.one("x-amz-date")
        signed_at = epoch_of(amz_date)
        self._check_scope(credential, amz_date)
        self._check_signed_names(request, names, need_payload_hash=True)
        self._check_skew(amz_date, signed_at, now_s)
        payload_hash = check_payload_hash(request.one("x-amz-content-sha256"))
        query = canonical_query(request.query)
        self._check_signature(request, credential[0], query, names, payload_hash, amz_date, signature)
        self._check_token(request.one("x-amz-security-token"))
        return Signed(names, payload_hash, amz_date)

    def _verify_presigned(self, request, now_s):
        given = {n.decode("latin-1"): v.decode("latin-1") for n, v in query_pairs(request.query)}
        for name in ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders"):
            if name not in given:
                raise AuthError(400, "AuthorizationQueryParametersError", "The query has no %s" % name)
        names = given["X-Amz-SignedHeaders"].split(";")
        amz_date = given["X-Amz-Date"]
        signed_at = epoch_of(amz_date)
        credential = split_credential(given["X-Amz-Credential"])
        self._check_scope(credential, amz_date)
        self._check_signed_names(request, names, need_payload_hash=False)
        check_expiry(given["X-Amz-Expires"], signed_at, now_s)
        query = canonical_query(request.query, leave_out=("X-Amz-Signature",))
        self._check_signature(request, credential[0], query, names, UNSIGNED_PAYLOAD, amz_date, given["X-Amz-Signature"])
        self._check_token(given.get("X-Amz-Security-Token"))
        return Signed(names, UNSIGNED_PAYLOAD, amz_date, presigned=True)

    def _check_scope(self, credential, amz_date):
        access_key, date, region, service, terminator = credential
        if access_key not in self.secrets:
            raise AuthError(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.",
                            AWSAccessKeyId=access_key)
        malformed = "The authorization header is malformed; "
        if region != self.region:
            raise AuthError(400, "AuthorizationHeaderMalformed", malformed + "the region '%s' is wrong; expecting '%s'"
                            % (region, self.region), Region=self.region)
        if service != self.service or terminator != "aws4_request":
            raise AuthError(400, "AuthorizationHeaderMalformed", malformed + "incorrect service '%s' or terminal '%s'"
                            % (service, terminator))
        if date != amz_date[:8]:
            raise AuthError(400, "AuthorizationHeaderMalformed", malformed + "Invalid credential date '%s'; x-amz-date is '%s'"
                            % (date, amz_date))

    @staticmethod
    def _check_signed_names(request, names, need_payload_hash):
        present = {name for name, _ in request.headers}
        if names != sorted(set(names)) or any(n != n.lower() for n in names):
            raise AuthError(403, "AccessDenied", "SignedHeaders are not sorted, unique and in lower case: %s" % ";".join(names))
        missing = [n for n in names if n not in present]
        if missing:
            raise AuthError(403, "AccessDenied", "Signed headers were not sent: %s" % ", ".join(missing))
        required = {"host"} | {n for n in present if n.startswith("x-amz-") or n in MUST_SIGN}
        unsigned = sorted(required - set(names))
        if unsigned:
            raise AuthError(403, "AccessDenied", "There were headers present in the request which were not signed",
                            HeadersNotSigned=", ".join(unsigned))
        if need_payload_hash and "x-amz-content-sha256" not in present:
            raise AuthError(400, "InvalidRequest", "Missing required header for this request: x-amz-content-sha256")

    @staticmethod
    def _check_skew(amz_date, signed_at, now_s):
        if abs(signed_at - now_s) > SKEW_MAX_S:
            raise AuthError(403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.",
                            RequestTime=amz_date, ServerTime=iso_time(now_s), MaxAllowedSkewMilliseconds=str(SKEW_MAX_S * 1000))

    def _check_signature(self, request, access_key, query, names, payload_hash, amz_date, signature):
        date = amz_date[:8]
        text = canonical_request(request.method, canonical_path_s3(request.path), query, request.headers, names, payload_hash)
        to_sign = string_to_sign(amz_date, "%s/%s/%s/aws4_request" % (date, self.region, self.service), text)
        key = cached_signing_key(self.secrets[access_key], date, self.region, self.service)
        if not hmac.compare_digest(sign(key, to_sign), signature):
            raise AuthError(403, "SignatureDoesNotMatch",
                            "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
                            AWSAccessKeyId=access_key, StringToSign=to_sign, SignatureProvided=signature,
                            StringToSignBytes=hex_dump(to_sign), CanonicalRequest=text, CanonicalRequestBytes=hex_dump(text))

    def _check_token(self, token):
        expected = self.credentials.session_token
        if expected and token is None:
            raise AuthError(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records: it needs its session token.",
                            AWSAccessKeyId=self.credentials.access_key)
        if (token or "") != expected:
            raise AuthError(400, "InvalidToken", "The provided token is malformed or otherwise invalid.")


def hex_dump(text):
    return " ".join("%02x" % b for b in text.encode("latin-1"))


def check_payload_hash(value):
    if value and value.startswith("STREAMING-"):
        raise AuthError(501, "NotImplemented", "aws-chunked bodies are not implemented here: %s" % value)
    if value != UNSIGNED_PAYLOAD and not HEX_64.match(value or ""):
        raise AuthError(400, "InvalidArgument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD or a valid sha256 value.",
                        ArgumentName="x-amz-content-sha256", ArgumentValue=value or "")
    return value


def check_expiry(expires, signed_at, now_s):
    if not expires.isdigit() or not 1 <= int(expires) <= EXPIRES_MAX_S:
        raise AuthError(400, "AuthorizationQueryParametersError", "X-Amz-Expires must be 1 to %d" % EXPIRES_MAX_S)
    if signed_at - now_s > SKEW_MAX_S or now_s > signed_at + int(expires):
        raise AuthError(403, "AccessDenied", "Request has expired", ServerTime=iso_time(now_s))
