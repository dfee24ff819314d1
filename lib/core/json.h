/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * JSON, read and written.  json.c alone includes the JSON library (yajl);
 * nothing of it shows here.  Reading is strict (RFC 8259, no duplicate keys,
 * no bytes after the value, valid UTF-8) and bounded; integers are exact over
 * the ranges of int64_t and uint64_t.  A document is one block of memory: its
 * values live as long as the document.
 */
#ifndef XLX_JSON_H
#define XLX_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum xlx__json_kind {
    XLX__JSON_NULL, XLX__JSON_BOOL, XLX__JSON_INTEGER, XLX__JSON_NUMBER,
    XLX__JSON_STRING, XLX__JSON_ARRAY, XLX__JSON_OBJECT,
};

struct xlx__json_doc;
struct xlx__json;                   /* a value in a document */

struct xlx__json_limits {
    size_t bytes;                   /* of text */
    unsigned int depth;             /* of nesting, at most 1024 */
};

/* what: names the source in messages ("QEMU's answer", a file's path) */
int xlx__json_parse(const char *what, const char *text, size_t len,
                    const struct xlx__json_limits *limits,
                    struct xlx__json_doc **doc_r);
void xlx__json_free(struct xlx__json_doc *doc);
const struct xlx__json *xlx__json_root(const struct xlx__json_doc *doc);

enum xlx__json_kind xlx__json_kind(const struct xlx__json *v);
/* Members and elements, in order: for (v = first(a); v; v = next(v)). */
const struct xlx__json *xlx__json_first(const struct xlx__json *container);
const struct xlx__json *xlx__json_next(const struct xlx__json *v);
const char *xlx__json_key(const struct xlx__json *member);  /* or NULL */
unsigned int xlx__json_count(const struct xlx__json *container);
/* The member of that name; NULL if there is none or obj is not an object. */
const struct xlx__json *xlx__json_member(const struct xlx__json *obj,
                                         const char *key);

/* Typed reading of a value.  On a wrong type or range: ERROR_INVAL and a
 * message with the path, "disks[2].format: must be a string". */
int xlx__json_string(const struct xlx__json *v, const char **s_r);
int xlx__json_bool(const struct xlx__json *v, bool *b_r);
int xlx__json_int64(const struct xlx__json *v, int64_t min, int64_t max,
                    int64_t *i_r);
int xlx__json_uint64(const struct xlx__json *v, uint64_t max, uint64_t *u_r);
int xlx__json_expect(const struct xlx__json *v, enum xlx__json_kind kind);
/* rc, and the message "SOURCE: PATH: " + text; for checks of the caller's. */
int xlx__json_error(const struct xlx__json *v, int rc, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for a member that must be there, as in an answer of QEMU's. */
int xlx__json_member_string(const struct xlx__json *obj, const char *key,
                            const char **s_r);
int xlx__json_member_bool(const struct xlx__json *obj, const char *key,
                          bool *b_r);
int xlx__json_member_int64(const struct xlx__json *obj, const char *key,
                           int64_t *i_r);

/* Writing.  Errors stick and come out at the end; every function accepts
 * NULL, which fails for lack of memory. */
struct xlx__json_out;

/* Never NULL; without memory one that has failed. */
struct xlx__json_out *xlx__json_out_new(bool pretty);
void xlx__json_out_object(struct xlx__json_out *o);
void xlx__json_out_array(struct xlx__json_out *o);
void xlx__json_out_end(struct xlx__json_out *o);    /* of either */
void xlx__json_out_key(struct xlx__json_out *o, const char *key);
void xlx__json_out_string(struct xlx__json_out *o, const char *s);
void xlx__json_out_bool(struct xlx__json_out *o, bool b);
void xlx__json_out_int64(struct xlx__json_out *o, int64_t i);
void xlx__json_out_uint64(struct xlx__json_out *o, uint64_t u);
void xlx__json_out_null(struct xlx__json_out *o);
/* A key with its value. */
void xlx__json_out_kv(struct xlx__json_out *o, const char *key,
                      const char *s);
void xlx__json_out_kv_bool(struct xlx__json_out *o, const char *key, bool b);
/* Frees o.  *text_r is the caller's; ends with a newline if pretty. */
int xlx__json_out_finish(struct xlx__json_out *o, char **text_r,
                         size_t *len_r /* may be NULL */);
void xlx__json_out_free(struct xlx__json_out *o);

#endif
