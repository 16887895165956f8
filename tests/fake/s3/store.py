# SPDX-License-Identifier: Apache-2.0
"""The state of the fake: buckets, objects and multipart uploads, in memory or with the bytes under a folder.

Bytes live in blobs that are never changed once stored (only `flip` and `truncate`, the deliberate damage, do), so a
GET under way keeps what it began with when the object is replaced: objects change as a whole or not at all.
"""

import base64
import bisect
import hashlib
import itertools
import os
import threading
import zlib
from dataclasses import dataclass, field

CHUNK = 256 * 1024
LIST_STEP = 1024                # keys looked at under one lock
IN_MEMORY_MAX = 64 * 1024       # smaller bodies stay in memory even with a root folder


class S3Error(Exception):
    """A refusal: HTTP status, S3 error code, message, and further elements of the error document."""

    def __init__(self, status, code, message, **details):
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details


def no_such_key(key):
    return S3Error(404, "NoSuchKey", "The specified key does not exist.", Key=key)


def no_such_upload(upload_id):
    return S3Error(404, "NoSuchUpload", "The specified multipart upload does not exist. The upload ID may be invalid, or the "
                   "upload may have been aborted or completed.", UploadId=upload_id)


def precondition_failed(condition):
    return S3Error(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", Condition=condition)


# ---- blobs ---------------------------------------------------------------------------------------------------


class MemoryBlob:
    def __init__(self, data):
        self.data = bytearray(data)

    def __len__(self):
        return len(self.data)

    def pieces(self, start, end):
        view = memoryview(self.data)
        for at in range(start, end, CHUNK):
            yield bytes(view[at:min(at + CHUNK, end)])

    def flip(self, offset, mask=1):
        self.data[offset] ^= mask


class FileBlob:
    """Bytes in a file of our own, removed with the last reference to the blob."""

    def __init__(self, path, length):
        self.path = path
        self.length = length

    def __del__(self):
        try:
            os.unlink(self.path)
        except OSError:
            pass

    def __len__(self):
        return self.length

    def pieces(self, start, end):
        with open(self.path, "rb") as file:     # not kept open: there may be more blobs than descriptors
            file.seek(start)
            while start < end:
                piece = file.read(min(CHUNK, end - start))
                if not piece:
                    raise OSError("blob file is shorter than its object")
                start += len(piece)
                yield piece

    def flip(self, offset, mask=1):
        with open(self.path, "r+b") as file:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ mask]))


class JoinedBlob:
    """Parts one after the other, without a copy."""

    def __init__(self, parts):
        self.parts = parts
        self.length = sum(len(p) for p in parts)

    def __len__(self):
        return self.length

    def pieces(self, start, end):
        at = 0
        for part in self.parts:
            low, high = max(start - at, 0), min(end - at, len(part))
            if low < high:
                yield from part.pieces(low, high)
            at += len(part)

    def flip(self, offset, mask=1):
        for part in self.parts:
            if offset < len(part):
                part.flip(offset, mask)
                return
            offset -= len(part)


class ShortBlob:
    """The first bytes of another: a damaged, truncated object."""

    def __init__(self, whole, length):
        self.whole = whole
        self.length = min(length, len(whole))

    def __len__(self):
        return self.length

    def pieces(self, start, end):
        return self.whole.pieces(start, min(end, self.length))

    def flip(self, offset, mask=1):
        self.whole.flip(offset, mask)


class Crc32c:
    """Slow (a few MB/s) but enough to check a checksum header."""

    TABLE = []

    def __init__(self):
        self.crc = 0xFFFFFFFF
        if not Crc32c.TABLE:
            for n in range(256):
                for _ in range(8):
                    n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
                Crc32c.TABLE.append(n)

    def update(self, data):
        crc, table = self.crc, Crc32c.TABLE
        for byte in bytes(data):
            crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
        self.crc = crc

    def digest(self):
        return (self.crc ^ 0xFFFFFFFF).to_bytes(4, "big")


class Crc32:
    def __init__(self):
        self.crc = 0

    def update(self, data):
        self.crc = zlib.crc32(data, self.crc)

    def digest(self):
        return self.crc.to_bytes(4, "big")


HASHES = {"md5": hashlib.md5, "sha256": hashlib.sha256, "sha1": hashlib.sha1, "crc32": Crc32, "crc32c": Crc32c}


class Intake:
    """Takes a request body in: hashes it and keeps it, in memory or, when it is large and there is a root, in a file."""

    counter = itertools.count(1)

    def __init__(self, root, hashes):
        self.hashes = {name: HASHES[name]() for name in sorted({"md5", *hashes})}
        self.length = 0
        self.root = root
        self.buffer = bytearray()
        self.file = None

    def add(self, piece):
        for each in self.hashes.values():
            each.update(piece)
        self.length += len(piece)
        if self.file is not None:
            self.file.write(piece)
            return
        self.buffer += piece
        if self.root is not None and self.length > IN_MEMORY_MAX:
            self.path = os.path.join(self.root, "blob-%d-%d" % (os.getpid(), next(Intake.counter)))
            self.file = open(self.path, "xb")
            self.file.write(self.buffer)
            self.buffer = bytearray()

    def hex(self, name):
        return self.hashes[name].digest().hex()

    def base64(self, name):
        return base64.b64encode(self.hashes[name].digest()).decode()

    def blob(self):
        """To be called once: the blob owns the bytes from then on."""
        if self.file is None:
            return MemoryBlob(self.buffer)
        file, self.file = self.file, None
        file.close()
        return FileBlob(self.path, self.length)

    def discard(self):
        """Forget bytes that no blob owns."""
        if self.file is not None:
            self.file.close()
            os.unlink(self.path)
            self.file = None


# ---- objects -------------------------------------------------------------------------------------------------


@dataclass
class Object:
    blob: object
    etag: str                     # without the quotes
    modified_s: float
    headers: list = field(default_factory=list)     # (name, value): what GET and HEAD give back
    checksums: dict = field(default_factory=dict)   # header name -> value
    version_id: str = "null"
    marker: bool = False          # a delete marker: no bytes
    lock: object = None           # Lock

    def locked(self, now_s, bypass):
        return self.lock is not None and self.lock.holds(now_s, bypass)


@dataclass
class Lock:
    """What keeps one version of an object."""

    mode: str = ""                # "", GOVERNANCE, COMPLIANCE
    until_s: float = 0
    legal_hold: bool = False

    def holds(self, now_s, bypass):
        if self.legal_hold:
            return True
        return bool(self.mode) and now_s < self.until_s and not (bypass and self.mode == "GOVERNANCE")


@dataclass
class Part:
    blob: object
    etag: str
    modified_s: float
    checksums: dict = field(default_factory=dict)


@dataclass
class Upload:
    upload_id: str
    key: bytes
    initiated_s: float
    headers: list = field(default_factory=list)
    lock: object = None                             # Lock
    parts: dict = field(default_factory=dict)       # number -> Part


@dataclass
class Bucket:
    name: str
    created_s: float
    objects: dict = field(default_factory=dict)     # key (bytes) -> Object
    keys: list = field(default_factory=list)        # the same keys, sorted by bytes
    uploads: dict = field(default_factory=dict)     # upload id -> Upload
    versioning: str = ""                            # "", Enabled, Suspended
    history: dict = field(default_factory=dict)     # once versioned: key -> [Object], the newest last; markers too
    history_keys: list = field(default_factory=list)
    lockable: bool = False
    lock_mode: str = ""                             # of new versions, when they say nothing themselves
    lock_s: float = 0


@dataclass
class Conditions:
    """If-Match and If-None-Match of a write; etags without quotes, None when not sent."""

    if_match: str = None
    if_none_match: str = None


class Store:
    """All buckets. Every method is atomic."""

    def __init__(self, root=None, part_min=5 * 1024 * 1024):
        self.root = root
        self.part_min = part_min
        self.buckets = {}
        self.lock = threading.RLock()
        self.ids = itertools.count(1)
        if root is not None:
            os.makedirs(root, exist_ok=True)

    def intake(self, hashes=()):
        return Intake(self.root, hashes)

    def reset(self):
        with self.lock:
            self.buckets.clear()

    # -- buckets

    def create_bucket(self, name, now_s):
        with self.lock:
            if name in self.buckets:
                raise S3Error(409, "BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you "
                              "already own it.", BucketName=name)
            self.buckets[name] = Bucket(name, now_s)

    def bucket(self, name):
        with self.lock:
            if name not in self.buckets:
                raise S3Error(404, "NoSuchBucket", "The specified bucket does not exist", BucketName=name)
            return self.buckets[name]

    def delete_bucket(self, name):
        with self.lock:
            if self.bucket(name).objects or self.bucket(name).history:
                raise S3Error(409, "BucketNotEmpty", "The bucket you tried to delete is not empty", BucketName=name)
            del self.buckets[name]

    # -- objects

    def put(self, bucket_name, key, obj, conditions):
        with self.lock:
            bucket = self.bucket(bucket_name)
            self._check(bucket, key, conditions)
            if bucket.versioning:
                obj.version_id = self._new_version_id(bucket)
                if bucket.lock_mode and (obj.lock is None or not obj.lock.mode):
                    obj.lock = Lock(bucket.lock_mode, obj.modified_s + bucket.lock_s, bool(obj.lock and obj.lock.legal_hold))
                self._remember(bucket, key, obj)
            if key not in bucket.objects:
                bisect.insort(bucket.keys, key)
            bucket.objects[key] = obj

    def get(self, bucket_name, key):
        with self.lock:
            obj = self.bucket(bucket_name).objects.get(key)
            if obj is None:
                raise no_such_key(key.decode())
            return obj

    def get_version(self, bucket_name, key, version_id):
        """One version, a delete marker too."""
        with self.lock:
            bucket = self.bucket(bucket_name)
            current = [bucket.objects[key]] if key in bucket.objects else []
            for obj in bucket.history.get(key, []) if bucket.versioning else current:
                if obj.version_id == version_id:
                    return obj
            raise S3Error(404, "NoSuchVersion", "The specified version does not exist.", Key=key.decode(), VersionId=version_id)

    def delete(self, bucket_name, key, conditions, now_s=0):
        """Without a version: the object goes, in a versioned bucket behind a delete marker, which is returned."""
        with self.lock:
            bucket = self.bucket(bucket_name)
            self._check(bucket, key, conditions)
            marker = None
            if bucket.versioning:
                marker = Object(MemoryBlob(b""), "", now_s, version_id=self._new_version_id(bucket), marker=True)
                self._remember(bucket, key, marker)
            self._forget_current(bucket, key)
            return marker

    def delete_version(self, bucket_name, key, version_id, now_s, bypass=False):
        """For good. A version that is not there is fine, one that is locked is refused."""
        with self.lock:
            bucket = self.bucket(bucket_name)
            try:
                obj = self.get_version(bucket_name, key, version_id)
            except S3Error:
                return
            if obj.locked(now_s, bypass):
                raise S3Error(403, "AccessDenied", "Access Denied because object protected by object lock.")
            if not bucket.versioning:
                self._forget_current(bucket, key)
                return
            versions = bucket.history[key]
            versions.remove(obj)
            if not versions:
                del bucket.history[key]
                del bucket.history_keys[bisect.bisect_left(bucket.history_keys, key)]
            newest = versions[-1] if versions and not versions[-1].marker else None
            self._forget_current(bucket, key)
            if newest is not None:
                bisect.insort(bucket.keys, key)
                bucket.objects[key] = newest

    @staticmethod
    def _forget_current(bucket, key):
        if bucket.objects.pop(key, None) is not None:
            del bucket.keys[bisect.bisect_left(bucket.keys, key)]

    # -- versions

    def set_versioning(self, bucket_name, status):
        with self.lock:
            bucket = self.bucket(bucket_name)
            if bucket.lockable and status != "Enabled":
                raise S3Error(409, "InvalidBucketState", "An Object Lock configuration is present on this bucket, so the versioning "
                              "state cannot be changed.")
            if not bucket.versioning:
                bucket.history = {key: [obj] for key, obj in bucket.objects.items()}
                bucket.history_keys = list(bucket.keys)
            bucket.versioning = status

    def set_lock(self, bucket_name, mode="", seconds=0):
        with self.lock:
            bucket = self.bucket(bucket_name)
            bucket.lockable = True
            if bucket.versioning != "Enabled":
                self.set_versioning(bucket_name, "Enabled")
            bucket.lock_mode, bucket.lock_s = mode, seconds

    def _new_version_id(self, bucket):
        # like upload ids: what a client does not escape finds it out
        return "v/%d+%s=" % (next(self.ids), os.urandom(6).hex()) if bucket.versioning == "Enabled" else "null"

    @staticmethod
    def _remember(bucket, key, obj):
        versions = bucket.history.setdefault(key, [])
        if not versions:
            bisect.insort(bucket.history_keys, key)
        if obj.version_id == "null":
            versions[:] = [v for v in versions if v.version_id != "null"]
        versions.append(obj)

    def list_versions(self, bucket_name, prefix, key_marker, id_marker, limit):
        """Return ([(key, Object, is latest)], truncated): by key, the newest first, behind the markers."""
        with self.lock:
            bucket = self.bucket(bucket_name)
            keys, history = bucket.keys, {}
            if bucket.versioning:
                keys, history = bucket.history_keys, bucket.history
            at = max(bisect.bisect_left(keys, prefix), bisect.bisect_left(keys, key_marker) if key_marker else 0)
            found = []
            for key in keys[at:]:
                if not key.startswith(prefix):
                    break
                rows = [(key, v, n == 0) for n, v in enumerate(reversed(history.get(key) or [bucket.objects[key]]))]
                if key == key_marker:
                    ids = [v.version_id for _, v, _ in rows]
                    rows = rows[ids.index(id_marker) + 1:] if id_marker in ids else []
                found += rows
                if len(found) > limit:
                    return found[:limit], True
            return found, False

    def check(self, bucket_name, key, conditions):
        with self.lock:
            self._check(self.bucket(bucket_name), key, conditions)

    @staticmethod
    def _check(bucket, key, conditions):
        current = bucket.objects.get(key)
        if conditions.if_none_match is not None and current is not None:
            raise precondition_failed("If-None-Match")
        if conditions.if_match is not None:
            if current is None:
                raise no_such_key(key.decode())
            if conditions.if_match not in ("*", current.etag):
                raise precondition_failed("If-Match")

    def list_keys(self, bucket_name, prefix, after, hidden_since_s=None):
        """Yield (key, Object) in byte order: keys with `prefix` that come after `after`. Reads on as far as it is asked to."""
        bucket = self.bucket(bucket_name)
        while True:
            with self.lock:
                at = max(bisect.bisect_left(bucket.keys, prefix), bisect.bisect_right(bucket.keys, after) if after else 0)
                found = [(key, bucket.objects[key]) for key in bucket.keys[at:at + LIST_STEP]]
            for key, obj in found:
                if not key.startswith(prefix):
                    return
                if hidden_since_s is None or obj.modified_s <= hidden_since_s:
                    yield key, obj
            if len(found) < LIST_STEP:
                return
            after = found[-1][0]

    # -- multipart uploads

    def create_upload(self, bucket_name, key, headers, now_s, lock=None):
        with self.lock:
            bucket = self.bucket(bucket_name)
            # ids may hold what needs escaping in a query; a client that forgets it is found out
            upload_id = "upload/%d+%s=" % (next(self.ids), hashlib.md5(os.urandom(8)).hexdigest())
            bucket.uploads[upload_id] = Upload(upload_id, key, now_s, headers, lock)
            return upload_id

    def upload(self, bucket_name, key, upload_id):
        with self.lock:
            found = self.bucket(bucket_name).uploads.get(upload_id)
            if found is None or found.key != key:
                raise no_such_upload(upload_id)
            return found

    def put_part(self, bucket_name, key, upload_id, number, part):
        with self.lock:
            self.upload(bucket_name, key, upload_id).parts[number] = part

    def abort_upload(self, bucket_name, key, upload_id):
        with self.lock:
            self.upload(bucket_name, key, upload_id)
            del self.bucket(bucket_name).uploads[upload_id]

    def complete_upload(self, bucket_name, key, upload_id, wanted, conditions, now_s):
        """`wanted`: (number, etag without quotes or None, {checksum element: value}) in the client's order."""
        with self.lock:
            upload = self.upload(bucket_name, key, upload_id)
            self._check(self.bucket(bucket_name), key, conditions)
            parts = self._chosen_parts(upload, wanted)
            digest = hashlib.md5(b"".join(bytes.fromhex(p.etag) for p in parts)).hexdigest()
            obj = Object(JoinedBlob([p.blob for p in parts]), "%s-%d" % (digest, len(parts)), now_s, upload.headers, lock=upload.lock)
            self.put(bucket_name, key, obj, Conditions())
            del self.bucket(bucket_name).uploads[upload_id]
            return obj

    def _chosen_parts(self, upload, wanted):
        numbers = [number for number, _, _ in wanted]
        if numbers != sorted(set(numbers)):
            raise S3Error(400, "InvalidPartOrder", "The list of parts was not in ascending order. Parts must be ordered by part number.",
                          UploadId=upload.upload_id)
        parts = []
        for number, etag, checksums in wanted:
            part = upload.parts.get(number)
            wrong = part is None or etag != part.etag or any(part.checksums.get(n) != v for n, v in checksums.items())
            if wrong:
                raise S3Error(400, "InvalidPart", "One or more of the specified parts could not be found. The part may not have been "
                              "uploaded, or the specified entity tag may not match the part's entity tag.",
                              UploadId=upload.upload_id, PartNumber=str(number), ETag=etag or "")
            parts.append(part)
        for number, part in zip(numbers[:-1], parts[:-1]):
            if len(part.blob) < self.part_min:
                raise S3Error(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size",
                              ProposedSize=str(len(part.blob)), MinSizeAllowed=str(self.part_min), PartNumber=str(number), ETag=part.etag)
        return parts

    # -- deliberate damage

    def flip_bit(self, bucket_name, key, offset):
        obj = self.get(bucket_name, key)
        if not -len(obj.blob) <= offset < len(obj.blob):
            raise S3Error(400, "InvalidArgument", "offset %d is outside the object's %d bytes" % (offset, len(obj.blob)))
        obj.blob.flip(offset % len(obj.blob))

    def truncate(self, bucket_name, key, length):
        obj = self.get(bucket_name, key)
        obj.blob = ShortBlob(obj.blob, length)
