/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads a file of JSON as an answer of QEMU's is read, and nothing more:
 *   json-read FILE
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/json.h"
#include "libxlx.h"

int main(int argc, char **argv)
{
    const struct xlx__json_limits limits = { .bytes = 200u << 20,
                                             .depth = 128 };
    struct xlx__json_doc *doc;
    struct stat st;
    char *text;
    FILE *f;

    if (argc != 2)
        errx(2, "usage: json-read FILE");
    f = fopen(argv[1], "re");
    if (!f || fstat(fileno(f), &st))
        err(1, "%s", argv[1]);
    text = malloc((size_t)st.st_size + 1);
    if (!text || fread(text, 1, (size_t)st.st_size, f) != (size_t)st.st_size)
        err(1, "%s", argv[1]);
    fclose(f);
    if (xlx__json_parse(argv[1], text, (size_t)st.st_size, &limits, &doc))
        errx(1, "%s", xlx_error_get());
    free(text);
    printf("%u\n", xlx__json_count(xlx__json_root(doc)));
    xlx__json_free(doc);
    return 0;
}
