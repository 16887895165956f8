/* SPDX-License-Identifier: Apache-2.0
 *
 * UTF-8: is it, or not. Names from servers and disks are checked before anything shows or stores
 * them.
 */
#ifndef S3_BASE_UTF8_H
#define S3_BASE_UTF8_H

#include <stdbool.h>

#include "s3/slice.h"

/* Well-formed: no overlong form, no surrogate, nothing above U+10FFFF. NUL is a character like any
 * other. Source: RFC 3629 section 4. */
bool cf_utf8_valid(cf_slice s);

#endif
