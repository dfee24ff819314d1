# SPDX-License-Identifier: LGPL-2.1-or-later
# Included by every Makefile.am that compiles C or runs tests.

# LIBXL_API_VERSION pins the libxl API that we are written to: the newest that
# the libxl.h of Xen 4.17 knows.
AM_CPPFLAGS = \
	-include $(top_builddir)/config.h \
	-DLIBXL_API_VERSION=0x041400 \
	-I$(top_srcdir)/include \
	-I$(top_srcdir)/lib
AM_CFLAGS = -std=gnu11 $(WARN_CFLAGS) $(HARDEN_CFLAGS) $(DEV_CFLAGS) $(XEN_CFLAGS)

# Every test says what it does in TAP (testanything.org).
LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
BATS_LOG_DRIVER = $(LOG_DRIVER)
BATS_LOG_COMPILER = bats --tap
if SANITIZERS
sanitizers = yes
else
sanitizers = no
endif
AM_TESTS_ENVIRONMENT = \
	top_srcdir='$(abs_top_srcdir)' top_builddir='$(abs_top_builddir)' \
	SANITIZERS=$(sanitizers) CMOCKA_MESSAGE_OUTPUT=TAP \
	ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 \
	UBSAN_OPTIONS=print_stacktrace=1 \
	MALLOC_PERTURB_=$${MALLOC_PERTURB_:-165}; \
	export top_srcdir top_builddir SANITIZERS CMOCKA_MESSAGE_OUTPUT \
	       ASAN_OPTIONS UBSAN_OPTIONS MALLOC_PERTURB_;
