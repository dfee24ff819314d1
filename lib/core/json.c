/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * JSON, parsed.  yajl finds the tokens; what it lets pass (ill-formed UTF-8,
 * lone surrogates, duplicate keys, any depth) is refused here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yajl/yajl_parse.h>

#include "core/json-value.h"
#include "core/number.h"

/* Keeps every distance and every count within its bits. */
#define MAX_TEXT (256u << 20)
#define MAX_DEPTH 1024
/* A value takes some 20 bytes, and as little as two of the text: a peer must
 * not get ten times the memory that it paid for.  QEMU's long answers have a
 * value for every twenty bytes. */
#define FREE_VALUES (1u << 20)
#define BYTES_PER_VALUE 32
#define ALIGN 4
#define RECENT_KEYS 1024

struct parser {
    const char *what, *text;
    const struct xlx__json_limits *limits;
    struct xlx__json_doc *doc;
    size_t size;                        /* of the block */
    uint32_t parent, last;              /* places in the block, 0: none */
    uint32_t key;                       /* of the member to come */
    unsigned int depth;
    size_t values, max_values;
    int rc;                             /* what stopped a callback, or 0 */
    const char *why;                    /* the same; NULL: message is set */
    uint32_t recent[RECENT_KEYS];       /* places of keys, by their hash */
};

/* ---- building ----------------------------------------------------------- */

static struct xlx__json *at(const struct parser *p, uint32_t place)
{
    return (struct xlx__json *)((char *)p->doc + place);
}

static int stop(struct parser *p, int rc, const char *why)
{
    p->rc = rc;
    p->why = why;
    return 0;                           /* yajl: cancel */
}

/* n more bytes at the end of the block; their place, or 0. */
static uint32_t grow(struct parser *p, size_t n)
{
    struct xlx__json_doc *bigger;
    uint32_t place = p->doc->used;
    size_t size = p->size;

    n = (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (n > UINT32_MAX - place) {
        stop(p, ERROR_NOMEM, "too large");
        return 0;
    }
    while (size - place < n)
        size += size / 2;
    if (size != p->size) {
        bigger = realloc(p->doc, size);
        if (!bigger) {
            stop(p, ERROR_NOMEM, "out of memory");
            return 0;
        }
        p->doc = bigger;
        p->size = size;
    }
    p->doc->used += n;
    return place;
}

/* A value linked to its parent, its sibling and its key. */
static struct xlx__json *add(struct parser *p, enum xlx__json_kind kind,
                             size_t extra)
{
    struct xlx__json *v, *parent;
    uint32_t place, distance;

    if (++p->values > p->max_values) {
        stop(p, ERROR_INVAL, "too many values");
        return NULL;
    }
    place = grow(p, sizeof(struct xlx__json) + extra);
    if (!place)
        return NULL;
    v = at(p, place);
    v->up = p->parent ? place - p->parent : 0;
    v->next = 0;
    v->key = p->key ? place - p->key : 0;
    v->kind = kind;
    v->count = 0;
    if (p->parent) {
        parent = at(p, p->parent);
        parent->count++;
        if (p->last != p->parent) {
            at(p, p->last)->next = place - p->last;
        } else {
            distance = place - p->parent;
            memcpy(parent + 1, &distance, sizeof(distance));
        }
    }
    p->last = place;
    p->key = 0;
    return v;
}

static int add_text(struct parser *p, enum xlx__json_kind kind,
                    const char *s, size_t len)
{
    struct xlx__json *v = add(p, kind, len + 1);

    if (!v)
        return 0;
    memcpy(v + 1, s, len);
    ((char *)(v + 1))[len] = '\0';
    return 1;
}

static int on_null(void *user)
{
    return add(user, XLX__JSON_NULL, 0) != NULL;
}

static int on_bool(void *user, int b)
{
    struct xlx__json *v = add(user, XLX__JSON_BOOL, 0);

    if (!v)
        return 0;
    v->count = !!b;
    return 1;
}

static int on_number(void *user, const char *s, size_t len)
{
    bool integer = !memchr(s, '.', len) && !memchr(s, 'e', len) &&
                   !memchr(s, 'E', len);

    return add_text(user, integer ? XLX__JSON_INTEGER : XLX__JSON_NUMBER,
                    s, len);
}

static int on_string(void *user, const unsigned char *s, size_t len)
{
    return add_text(user, XLX__JSON_STRING, (const char *)s, len);
}

static int on_key(void *user, const unsigned char *s, size_t len)
{
    struct parser *p = user;
    uint32_t hash = 2166136261u, *recent;       /* FNV-1a */
    const char *known;
    size_t i;

    for (i = 0; i < len; i++)
        hash = (hash ^ s[i]) * 16777619u;
    recent = &p->recent[(hash ^ hash >> 16) % RECENT_KEYS];
    if (*recent) {
        known = (const char *)p->doc + *recent;
        if (!strncmp(known, (const char *)s, len) && !known[len]) {
            p->key = *recent;
            return 1;
        }
    }
    p->key = grow(p, len + 1);
    if (!p->key)
        return 0;
    memcpy((char *)p->doc + p->key, s, len);
    ((char *)p->doc + p->key)[len] = '\0';
    *recent = p->key;
    return 1;
}

static int open_container(struct parser *p, enum xlx__json_kind kind)
{
    struct xlx__json *v;

    if (p->depth >= p->limits->depth || p->depth >= MAX_DEPTH)
        return stop(p, ERROR_INVAL, "nested too deeply");
    v = add(p, kind, sizeof(uint32_t));
    if (!v)
        return 0;
    memset(v + 1, 0, sizeof(uint32_t));
    p->depth++;
    p->parent = p->last;
    return 1;
}

static int close_container(struct parser *p)
{
    uint32_t up = at(p, p->parent)->up;

    p->depth--;
    p->last = p->parent;
    p->parent = up ? p->parent - up : 0;
    return 1;
}

static int on_start_object(void *user)
{
    return open_container(user, XLX__JSON_OBJECT);
}

static int on_start_array(void *user)
{
    return open_container(user, XLX__JSON_ARRAY);
}

static int on_end_array(void *user)
{
    return close_container(user);
}

static int by_key(const void *a, const void *b)
{
    const struct xlx__json *const *x = a, *const *y = b;
    int r = strcmp(xlx__json_key(*x), xlx__json_key(*y));

    return r ? r : (*x > *y) - (*x < *y);
}

/* *twice_r: the second of two members with one key, or NULL.  By sorting: a
 * hash would have to fear keys made to collide. */
static int find_duplicate(const struct xlx__json *obj,
                          const struct xlx__json **twice_r)
{
    const struct xlx__json *few[32], **all = few, *v;
    unsigned int i = 0, n = obj->count;

    *twice_r = NULL;
    if (n > XLX__ARRAY_SIZE(few)) {
        all = malloc(n * sizeof(*all));
        if (!all)
            return ERROR_NOMEM;
    }
    for (v = xlx__json_first(obj); v; v = xlx__json_next(v))
        all[i++] = v;
    qsort(all, n, sizeof(*all), by_key);
    for (i = 1; i < n; i++)
        if (!strcmp(xlx__json_key(all[i - 1]), xlx__json_key(all[i])))
            *twice_r = all[i];
    if (all != few)
        free(all);
    return 0;
}

static int on_end_object(void *user)
{
    struct parser *p = user;
    const struct xlx__json *twice;

    if (find_duplicate(at(p, p->parent), &twice))
        return stop(p, ERROR_NOMEM, "out of memory");
    if (twice) {
        xlx__error(ERROR_INVAL, "given twice");
        xlx__json_prefix(p->what, twice, ERROR_INVAL);
        return stop(p, ERROR_INVAL, NULL);
    }
    return close_container(p);
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_bool,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_start_object,
    .yajl_map_key = on_key,
    .yajl_end_map = on_end_object,
    .yajl_start_array = on_start_array,
    .yajl_end_array = on_end_array,
};

/* ---- memory for yajl ---------------------------------------------------- */

/* yajl does not look whether it got memory, so it gets it from a pool that
 * is there beforehand and cannot run out: its largest use is one buffer that
 * doubles up to the size of the longest string with an escape in it, or of a
 * number at the end of the text.  Untouched pages cost nothing. */
struct pool {
    size_t used, size;
    char bytes[];
};

static void *pool_malloc(void *user, size_t n)
{
    struct pool *pool = user;
    size_t need = sizeof(max_align_t) + ((n + 15) & ~(size_t)15);
    char *block;

    if (need < n || need > pool->size - pool->used)
        return NULL;                    /* not with the size below */
    block = pool->bytes + pool->used + sizeof(max_align_t);
    memcpy(block - sizeof(n), &n, sizeof(n));
    pool->used += need;
    return block;
}

static void *pool_realloc(void *user, void *old, size_t n)
{
    size_t had = 0;
    void *new;

    if (old)
        memcpy(&had, (char *)old - sizeof(had), sizeof(had));
    if (n <= had)
        return old;
    new = pool_malloc(user, n);
    if (new && old)
        memcpy(new, old, had);
    return new;
}

static void pool_free(void *user, void *block)
{
    (void)user;
    (void)block;
}

static struct pool *pool_new(size_t len)
{
    size_t size = 4 * len + (64u << 10);
    struct pool *pool = malloc(sizeof(*pool) + size);

    if (pool) {
        pool->used = 0;
        pool->size = size;
    }
    return pool;
}

/* ---- parsing ------------------------------------------------------------ */

/* WHAT:LINE:COLUMN: why; columns are bytes. */
static int place_error(const struct parser *p, size_t offset, const char *why)
{
    unsigned int line = 1;
    size_t i, start = 0;

    for (i = 0; i < offset; i++) {
        if (p->text[i] == '\n') {
            line++;
            start = i + 1;
        }
    }
    return xlx__error(ERROR_INVAL, "%s:%u:%zu: %s", p->what, line,
                      offset - start + 1, why);
}

static bool hex4(const char *s, const char *end, unsigned int *code_r)
{
    return end - s >= 4 && xlx__take_digits(&s, 4, code_r);
}

/* yajl turns lone surrogates into "?" or into ill-formed UTF-8, and a NUL
 * would cut a C string short.  A backslash outside a string, or before
 * something else, is yajl's to refuse. */
static int check_escapes(const struct parser *p, size_t len)
{
    const char *s = p->text, *end = s + len, *from;
    unsigned int code, low;

    while ((s = memchr(s, '\\', end - s))) {
        if (end - s < 2)
            break;
        from = s;
        s += 2;
        if (s[-1] != 'u' || !hex4(s, end, &code))
            continue;
        s += 4;
        if (!code)
            return place_error(p, from - p->text, "NUL in a string");
        if (code < 0xd800 || code > 0xdfff)
            continue;
        if (code > 0xdbff || end - s < 2 || s[0] != '\\' || s[1] != 'u' ||
            !hex4(s + 2, end, &low) || low < 0xdc00 || low > 0xdfff)
            return place_error(p, from - p->text, "lone surrogate");
        s += 6;
    }
    return 0;
}

static int check_text(const struct parser *p, size_t len)
{
    size_t ok;

    if (len > p->limits->bytes || len > MAX_TEXT)
        return xlx__error(ERROR_INVAL, "%s: larger than %zu bytes", p->what,
                          p->limits->bytes > MAX_TEXT ? (size_t)MAX_TEXT
                                                      : p->limits->bytes);
    ok = xlx__utf8_valid(p->text, len);
    if (ok < len)
        return place_error(p, ok, "not UTF-8");
    return check_escapes(p, len);
}

static int parse_failed(const struct parser *p, yajl_handle yajl,
                        size_t offset)
{
    char why[128];
    unsigned char *said;

    if (p->rc && !p->why)
        return p->rc;
    if (p->rc == ERROR_NOMEM)
        return xlx__error(p->rc, "%s: %s", p->what, p->why);
    if (p->rc)
        return place_error(p, offset, p->why);

    said = yajl_get_error(yajl, 0, NULL, 0);
    snprintf(why, sizeof(why), "%s", said ? (char *)said : "not JSON");
    why[strcspn(why, "\n")] = '\0';
    return place_error(p, offset, why);
}

static int run_yajl(struct parser *p, size_t len)
{
    struct pool *pool = pool_new(len);
    yajl_alloc_funcs from_pool = {
        .malloc = pool_malloc, .realloc = pool_realloc, .free = pool_free,
        .ctx = pool,
    };
    yajl_handle yajl;
    size_t offset;
    int rc;

    if (!pool)
        return xlx__error(ERROR_NOMEM, "%s: out of memory", p->what);
    yajl = yajl_alloc(&callbacks, &from_pool, p);
    yajl_config(yajl, yajl_dont_validate_strings, 1);   /* done already */
    rc = 0;
    if (yajl_parse(yajl, (const unsigned char *)p->text, len)) {
        offset = yajl_get_bytes_consumed(yajl);     /* with what is wrong */
        rc = parse_failed(p, yajl, offset ? offset - 1 : 0);
    } else if (yajl_complete_parse(yajl)) {
        rc = parse_failed(p, yajl, len);
    }
    yajl_free(yajl);
    free(pool);
    return rc;
}

/* Gives the document its name and what it did not use back. */
static int finish(struct parser *p)
{
    size_t len = strlen(p->what) + 1;
    uint32_t place = grow(p, len);
    struct xlx__json_doc *smaller;

    if (!place)
        return xlx__error(ERROR_NOMEM, "%s: out of memory", p->what);
    memcpy((char *)p->doc + place, p->what, len);
    p->doc->what = place;
    smaller = realloc(p->doc, p->doc->used);
    if (smaller)
        p->doc = smaller;
    return 0;
}

int xlx__json_parse(const char *what, const char *text, size_t len,
                    const struct xlx__json_limits *limits,
                    struct xlx__json_doc **doc_r)
{
    struct parser *p;
    int rc;

    p = calloc(1, sizeof(*p));
    if (!p) {
        rc = xlx__error(ERROR_NOMEM, "%s: out of memory", what);
        goto out;
    }
    p->what = what;
    p->text = text;
    p->limits = limits;
    p->max_values = FREE_VALUES + len / BYTES_PER_VALUE;
    rc = check_text(p, len);
    if (rc) goto out;
    p->size = 512;
    p->doc = malloc(p->size);
    if (!p->doc) {
        rc = xlx__error(ERROR_NOMEM, "%s: out of memory", what);
        goto out;
    }
    p->doc->used = sizeof(*p->doc);
    rc = run_yajl(p, len);
    if (rc) goto out;
    rc = finish(p);
    if (rc) goto out;
    *doc_r = p->doc;
    p->doc = NULL;
 out:
    if (p)
        xlx__json_free(p->doc);
    free(p);
    return rc;
}

void xlx__json_free(struct xlx__json_doc *doc)
{
    free(doc);
}
