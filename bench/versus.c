/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The cost of whole processes, one against the other:
 *
 *   versus [-n RUNS] [-q] NAME [VARIABLE=VALUE...] COMMAND...
 *                         [vs NAME [VARIABLE=VALUE...] COMMAND...]
 *
 * The two run in turns, so that what else the machine does hits both alike.
 * Prints medians of the time, the processor time and the peak memory, and how
 * many times those of the second the first takes; with -q the microseconds
 * and the KiB of the first alone.  Small, and written in C, because the peak
 * of a process counts from before its exec.
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_RUNS 1000

struct side {
    const char *name;
    char **argv;
    double wall[MAX_RUNS], cpu[MAX_RUNS], peak[MAX_RUNS];   /* ms, ms, MiB */
};

static double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static double ms(struct timeval t)
{
    return t.tv_sec * 1e3 + t.tv_usec / 1e3;
}

static void become(char **argv)
{
    int null = open("/dev/null", O_RDWR);

    for (; strchr(*argv, '='); argv++)
        putenv(*argv);
    dup2(null, 0);
    dup2(null, 1);
    execvp(*argv, argv);
    warn("%s", *argv);
    _exit(127);
}

static void run(struct side *s, int n)
{
    struct rusage usage;
    double start = now_ms();
    int status;
    pid_t pid = fork();

    if (pid < 0)
        err(2, "fork");
    if (!pid)
        become(s->argv);
    if (wait4(pid, &status, 0, &usage) != pid)
        err(2, "wait4");
    s->wall[n] = now_ms() - start;
    if (status)
        errx(2, "%s: ended with status %#x", s->name, (unsigned int)status);
    s->cpu[n] = ms(usage.ru_utime) + ms(usage.ru_stime);
    s->peak[n] = usage.ru_maxrss / 1024.;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void report(const struct side *s, int runs)
{
    printf("    %-38s %9.2f ms (%.2f to %.2f), processor %.2f ms, "
           "peak %.1f MiB\n", s->name, s->wall[runs / 2], s->wall[0],
           s->wall[runs - 1], s->cpu[runs / 2], s->peak[runs / 2]);
}

int main(int argc, char **argv)
{
    static struct side side[2];
    int i, opt, quiet = 0, runs = 21, sides = 1;

    while ((opt = getopt(argc, argv, "+n:q")) != -1) {
        if (opt == 'n' && atoi(optarg) > 0 && atoi(optarg) <= MAX_RUNS)
            runs = atoi(optarg);
        else if (opt == 'q')
            quiet = 1;
        else
            errx(2, "wrong option");
    }
    for (i = optind; i < argc; i++)
        if (!strcmp(argv[i], "vs")) {
            argv[i] = NULL;
            sides = 2;
            break;
        }
    if (i - optind < 2 || (sides == 2 && argc - i < 3))
        errx(2, "usage: versus [-n RUNS] [-q] NAME COMMAND... "
             "[vs NAME COMMAND...]");
    side[0].name = argv[optind];
    side[0].argv = &argv[optind + 1];
    if (sides == 2) {
        side[1].name = argv[i + 1];
        side[1].argv = &argv[i + 2];
    }
    for (i = 0; i < runs * sides; i++)
        run(&side[i % sides], i / sides);
    for (i = 0; i < sides; i++) {
        qsort(side[i].wall, runs, sizeof(double), compare);
        qsort(side[i].cpu, runs, sizeof(double), compare);
        qsort(side[i].peak, runs, sizeof(double), compare);
    }
    if (quiet) {
        printf("%.0f %.0f\n", side[0].wall[runs / 2] * 1e3,
               side[0].peak[runs / 2] * 1024);
        return 0;
    }
    if (sides == 2)
        printf("%s takes %.2f times the time of %s, %.2f times the processor "
               "time, %.2f times the memory (medians of %d)\n", side[0].name,
               side[0].wall[runs / 2] / side[1].wall[runs / 2],
               side[1].name, side[0].cpu[runs / 2] / side[1].cpu[runs / 2],
               side[0].peak[runs / 2] / side[1].peak[runs / 2], runs);
    for (i = 0; i < sides; i++)
        report(&side[i], runs);
    return 0;
}
