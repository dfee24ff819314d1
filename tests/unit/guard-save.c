/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The head of a save file into the guard's reader: every part of one, and
 * every one with a byte changed, gives the guest or is not a head, out of
 * memory and out of a pipe alike.  fuzz/fuzz-save.c goes on from there.
 */
#include <errno.h>
#include <fcntl.h>

#include "../../xl-plugins/command.h"
#include "../../xl-plugins/guard.h"
#include "unit.h"

const char *xl_command_name = "restore";

/* libxlutil's parser leaks what it has read when it meets an error. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libxlutil\n";
}

static const char config_text[] =
    "name=\"web\"\nuuid=\"7c5ac0e4-1f3b-4f0e-9a52-0d6a2f3f9b11\"\n"
    "disk=[ \"/a.qcow2,qcow2,xvda,w\", \"format=raw,vdev=hdc,access=r,"
    "devtype=cdrom,target=/b,c\" ]\n";

static size_t make_head(char head[512])
{
    const uint32_t len = (uint32_t)strlen(config_text);
    const uint32_t numbers[] = { 0x01020304, 2, 0, len + 4, len };
    static const char magic[32] = "Xen saved domain, xl format\n \0 \r";

    memcpy(head, magic, sizeof(magic));
    memcpy(head + sizeof(magic), numbers, sizeof(numbers));
    memcpy(head + sizeof(magic) + sizeof(numbers), config_text, len);
    return sizeof(magic) + sizeof(numbers) + len;
}

static bool from_memory(const char *head, size_t len)
{
    struct guest_config config = { .cfg = NULL };
    /* exactly as large, so that a byte beyond it is noticed */
    char *copy = malloc(len ? len : 1);
    bool found;

    assert_non_null(copy);
    memcpy(copy, head, len);
    found = guest_config_from_head(copy, len, &config);
    assert_true(!found || config.num_disks == 0 || config.disks);
    guest_config_free(&config);
    free(copy);
    return found;
}

static bool from_pipe(const char *head, size_t len)
{
    struct guest_config config = { .cfg = NULL };
    enum guest_config_found found;
    char path[40];
    int fds[2];

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(write(fds[1], head, len), len);
    close(fds[1]);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fds[0]);
    found = guest_config_from_save(path, &config);
    if (found == GUEST_CONFIG_UNSEEN)
        assert_int_equal(errno, EFBIG);
    close(fds[1]);                  /* kept for stock xl, under that number */
    close(fds[0]);
    guest_config_free(&config);
    return found == GUEST_CONFIG_READ;
}

static void whole(void **state)
{
    struct guest_config config = { .cfg = NULL };
    char head[512];
    size_t len = make_head(head);

    (void)state;
    assert_true(guest_config_from_head(head, len, &config));
    assert_string_equal(config.name, "web");
    assert_true(config.has_uuid);
    assert_int_equal(config.num_disks, 2);
    assert_string_equal(config.disks[1].pdev_path, "/b,c");
    guest_config_free(&config);
    assert_true(from_pipe(head, len));
}

static void cut(void **state)
{
    char head[512];
    size_t len = make_head(head), i;

    (void)state;
    for (i = 0; i < len; i++) {
        assert_false(from_memory(head, i));
        assert_false(from_pipe(head, i));
    }
}

static void changed(void **state)
{
    static const unsigned char bits[] = { 0x01, 0x80, 0xff };
    char head[512], kept;
    size_t len = make_head(head), i, b;

    (void)state;
    for (i = 0; i < len; i++)
        for (b = 0; b < sizeof(bits); b++) {
            kept = head[i];
            head[i] = (char)(kept ^ bits[b]);
            assert_int_equal(from_memory(head, len), from_pipe(head, len));
            head[i] = kept;
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole),
        cmocka_unit_test(cut),
        cmocka_unit_test(changed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
