/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shared by the files of the library.  Prototypes are under the file that
 * defines them, lowest layer first, so this page is also the map of lib/.
 * Plumbing with a type of its own has its own header: json.h qmp.h xs.h lock.h
 * store.h image.h.
 */
#ifndef XLX_INTERNAL_H
#define XLX_INTERNAL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/json.h"
#include "libxlx.h"

struct xs_handle;

struct xlx_ctx {
    libxl_ctx *libxl;               /* NULL until something needs it */
    bool own_libxl;
    bool libxl_working;             /* it may have children, see ctx.c */
    xentoollog_logger *logger;      /* never NULL; ours, see ctx.c */
    struct xs_handle *xenstore;     /* NULL until something needs it */
    char *state_dir;                /* durable state, see store.h */
    char *run_dir;                  /* our lock files */
};

/* text.c: strings of our own, NULL when memory is short; UTF-8 */
char *xlx__printf(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));
/* "" for NULL: both mean an empty string. */
static inline const char *xlx__text(const char *s) { return s ? s : ""; }
/* Replaces *s by a copy of value.  0 or ERROR_NOMEM with the message set. */
int xlx__set_string(char **s, const char *value);
/* The bytes of the well-formed character that s begins with, else 0. */
size_t xlx__utf8_length(const char *s, size_t max);
/* How much of s is well-formed: len if all of it. */
size_t xlx__utf8_valid(const char *s, size_t len);

/* error.c: contract 1, a code and one line of text per thread */
int xlx__error(int rc, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
int xlx__verror(int rc, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));
/* Puts "PREFIX: " before the message; for a layer that knows which of many
 * things the fault was in.  Returns rc. */
int xlx__error_prefix(int rc, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* ERROR_NOMEM with its message. */
int xlx__nomem(void);
void xlx__error_clear(void);
/* 0, and no message, when rc is the code that the caller can go on with. */
int xlx__forgive(int rc, int forgiven);
/* Keeps the message while the caller cleans up with calls that may fail. */
#define XLX__ERROR_SIZE 1024
struct xlx__error_text {
    char line[XLX__ERROR_SIZE];
};
void xlx__error_save(struct xlx__error_text *text);
void xlx__error_restore(const struct xlx__error_text *text);
/* The ERROR_* code for an errno value, ERROR_FAIL for most. */
int xlx__errno_rc(int errnoval);

/* system.c: what all layers ask the kernel */
/* Milliseconds of CLOCK_MONOTONIC; deadlines are such values. */
int64_t xlx__now_ms(void);
/* mkdir -p, mode 0700. */
int xlx__make_directory(const char *path);

/* ctx.c: what the generated calls do on entry, and lazy connections */
void xlx__call_enter(xlx_ctx *ctx, const char *call);
int xlx__call_leave(xlx_ctx *ctx, const char *call, int rc);
int xlx__ctx_libxl(xlx_ctx *ctx, libxl_ctx **libxl_r);
/* For the calls of libxl that may start a process: those that change a
 * domain or its devices.  Until the call of ours ends. */
int xlx__ctx_libxl_working(xlx_ctx *ctx, libxl_ctx **libxl_r);
/* After an error that may be of the connections to xenstored: they are opened
 * again when next needed.  libxl's only where they are not the caller's. */
void xlx__ctx_reconnect(xlx_ctx *ctx);
/* For a message about a libxl call that failed: the errors that libxl logged
 * since xlx__ctx_libxl(), or else rc's name.  Lives until the next message.
 * A libxl_ctx of the caller's logs to the caller, not here. */
const char *xlx__ctx_libxl_said(xlx_ctx *ctx, int rc);
/* Has libxl's reports of progress, such as the pages of a guest that it has
 * sent, go there as well; NULL ends it.  Not those of a libxl_ctx of the
 * caller's. */
void xlx__ctx_on_pages(xlx_ctx *ctx,
                       void (*on_pages)(void *user, unsigned long done,
                                        unsigned long total), void *user);
void xlx__debug(xlx_ctx *ctx, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* One line that the caller's user must see although the call goes on: the
 * caller's logger gets it at the level XTL_NOTICE. */
void xlx__notice(xlx_ctx *ctx, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#define XLX__ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
