/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fuzzes what the guard makes of a guest's config: the bytes are an xl.cfg(5),
 * which a tool of the user's may have written.  Each config is freed again,
 * and each disk's line goes through the words for a shell and for xl.cfg.
 */
#include "../xl-plugins/command.h"
#include "../xl-plugins/guard.h"
#include "fuzz.h"

const char *xl_command_name = "fuzz";   /* for messages; there are none */

/* libxlutil's parser leaks what it has read when it meets an error. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libxlutil";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct guest_config config = { .cfg = NULL };
    char *text = malloc(size + 1);
    int i;

    if (!text)
        abort();
    memcpy(text, data, size);
    text[size] = '\0';
    if (guest_config_from_text(text, &config)) {
        (void)guest_config_type(&config);
        for (i = 0; i < config.num_disks; i++)
            if (!config.specs[i] || !config.disks[i].vdev)
                abort();
    }
    guest_config_free(&config);
    free(text);
    return 0;
}
