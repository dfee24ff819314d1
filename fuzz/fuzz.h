/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shared by the fuzzers: the entry of libFuzzer, and the properties of every
 * message.
 */
#ifndef XLX_FUZZ_H
#define XLX_FUZZ_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A message is one line of bounded UTF-8. */
static inline void check_message(void)
{
    const char *message = xlx_error_get();
    size_t len = strlen(message);

    if (!len || len > 1023 || strpbrk(message, "\n\r\x1b") ||
        xlx__utf8_valid(message, len) != len)
        abort();
}

#endif
