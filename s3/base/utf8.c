/* SPDX-License-Identifier: Apache-2.0
 *
 * UTF-8 by the table of RFC 3629: what the first byte is decides how many follow and where the
 * second lies.
 */
#include "s3/base/utf8.h"

typedef struct utf8_row {
    uint8_t first_min, first_max;
    uint8_t more;                   /* bytes that follow */
    uint8_t second_min, second_max; /* the others are 80..BF */
} utf8_row;

static const utf8_row utf8_rows[] = {
    {0x00, 0x7F, 0, 0, 0},       {0xC2, 0xDF, 1, 0x80, 0xBF}, {0xE0, 0xE0, 2, 0xA0, 0xBF},
    {0xE1, 0xEC, 2, 0x80, 0xBF}, {0xED, 0xED, 2, 0x80, 0x9F}, {0xEE, 0xEF, 2, 0x80, 0xBF},
    {0xF0, 0xF0, 3, 0x90, 0xBF}, {0xF1, 0xF3, 3, 0x80, 0xBF}, {0xF4, 0xF4, 3, 0x80, 0x8F},
};

static const utf8_row *utf8_find(uint8_t first)
{
    for (size_t i = 0; i < sizeof(utf8_rows) / sizeof(utf8_rows[0]); i++)
        if (first >= utf8_rows[i].first_min && first <= utf8_rows[i].first_max)
            return &utf8_rows[i];
    return NULL;
}

bool cf_utf8_valid(cf_slice s)
{
    for (size_t i = 0; i < s.len;) {
        const utf8_row *const row = utf8_find(s.ptr[i]);
        if (row == NULL || s.len - i <= row->more)
            return false;
        if (row->more > 0 && (s.ptr[i + 1] < row->second_min || s.ptr[i + 1] > row->second_max))
            return false;
        for (size_t j = 2; j <= row->more; j++)
            if ((s.ptr[i + j] & 0xC0) != 0x80)
                return false;
        i += 1u + row->more;
    }
    return true;
}
