/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A libxl context of ours leaves the caller's SIGCHLD and children alone.
 * libxl is played here: its rules are those of libxl_event.h.
 */
#include <errno.h>
#include <signal.h>

#include "unit.h"

#include "guest/domain.h"

static xlx_ctx *ctx;
static int a_libxl;                 /* what the context points to */
static const libxl_childproc_hooks *hooks;
static int opened, closed, destroyed;

int libxl_ctx_alloc(libxl_ctx **ctx_r, int version, unsigned int flags,
                    xentoollog_logger *logger)
{
    (void)version;
    (void)flags;
    (void)logger;
    *ctx_r = (libxl_ctx *)&a_libxl;
    opened++;
    return 0;
}

int libxl_ctx_free(libxl_ctx *libxl)
{
    (void)libxl;
    closed++;
    return 0;
}

/* As libxl does: the owner "always" has its handler from here on, and an
 * assertion ends the program that has one of its own. */
static void libxl_handler(int signo)
{
    (void)signo;
}

static bool holds_signal(const libxl_childproc_hooks *h)
{
    return h && h->chldowner ==
                libxl_sigchld_owner_libxl_always_selective_reap;
}

void libxl_childproc_setmode(libxl_ctx *libxl,
                             const libxl_childproc_hooks *new, void *user)
{
    struct sigaction now;
    (void)user;

    assert_ptr_equal(libxl, &a_libxl);
    sigaction(SIGCHLD, NULL, &now);
    if (holds_signal(new) && !holds_signal(hooks)) {
        assert_true(now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN);
        signal(SIGCHLD, libxl_handler);
    } else if (holds_signal(hooks) && !holds_signal(new)) {
        assert_true(now.sa_handler == libxl_handler);
        signal(SIGCHLD, SIG_DFL);
    }
    hooks = new;
}

int libxl_domain_destroy(libxl_ctx *libxl, uint32_t domid,
                         const libxl_asyncop_how *how)
{
    (void)libxl;
    (void)domid;
    (void)how;
    destroyed++;
    /* no child of the caller's is libxl's to reap */
    assert_true(!hooks || holds_signal(hooks));
    return 0;
}

static void (*disposition(void))(int)
{
    struct sigaction now;

    sigaction(SIGCHLD, NULL, &now);
    return now.sa_handler;
}

static int destroy(void)
{
    xlx_guest guest;
    int rc;

    xlx_guest_init(&guest);
    guest.domid = 5;
    xlx__call_enter(ctx, "test");
    rc = xlx__call_leave(ctx, "test", xlx__domain_destroy(ctx, &guest));
    xlx_guest_dispose(&guest);
    return rc;
}

/* Without a call that needs it libxl does not touch the signal, and should
 * it want a child all the same, it gets none. */
static void resting(void **state)
{
    libxl_ctx *libxl;
    (void)state;

    assert_ok(xlx__ctx_libxl(ctx, &libxl));
    assert_int_equal(opened, 1);
    assert_non_null(hooks);
    assert_int_equal(hooks->chldowner, libxl_sigchld_owner_mainloop);
    assert_true(disposition() == SIG_DFL);
    assert_int_equal(hooks->fork_replacement(NULL), -1);
    assert_int_equal(errno, EPERM);
}

static void working(void **state)
{
    (void)state;
    destroyed = 0;
    assert_ok(destroy());
    assert_ok(destroy());
    assert_int_equal(destroyed, 2);
    assert_int_equal(hooks->chldowner, libxl_sigchld_owner_mainloop);
    assert_true(disposition() == SIG_DFL);
}

static void on_child(int signo)
{
    (void)signo;
}

static void on_child_info(int signo, siginfo_t *info, void *uc)
{
    (void)signo;
    (void)info;
    (void)uc;
}

/* Nothing is changed, neither the domain nor the handler. */
static void own_handler(void **state)
{
    struct sigaction info = { .sa_flags = SA_SIGINFO };
    (void)state;

    destroyed = 0;
    signal(SIGCHLD, on_child);
    assert_fails(destroy(), ERROR_INVAL, "handles SIGCHLD itself");
    assert_true(disposition() == on_child);
    info.sa_sigaction = on_child_info;
    sigaction(SIGCHLD, &info, NULL);
    assert_fails(destroy(), ERROR_INVAL, "libxl_childproc_setmode");
    assert_int_equal(destroyed, 0);
    signal(SIGCHLD, SIG_DFL);
}

/* The caller's is the caller's to prepare. */
static void callers_context(void **state)
{
    xlx_ctx *saved = ctx;
    (void)state;

    hooks = NULL;
    closed = destroyed = 0;
    assert_ok(xlx_ctx_alloc(&ctx, (libxl_ctx *)&a_libxl, NULL));
    signal(SIGCHLD, on_child);
    assert_ok(destroy());
    signal(SIGCHLD, SIG_DFL);
    assert_null(hooks);
    assert_int_equal(destroyed, 1);
    xlx_ctx_free(ctx);
    assert_int_equal(closed, 0);
    ctx = saved;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resting),
        cmocka_unit_test(working),
        cmocka_unit_test(own_handler),
        cmocka_unit_test(callers_context),
    };
    int r;

    if (xlx_ctx_alloc(&ctx, NULL, NULL))
        return 1;
    r = cmocka_run_group_tests_name("ctx-sigchld", tests, NULL, NULL);
    xlx_ctx_free(ctx);
    return r;
}
