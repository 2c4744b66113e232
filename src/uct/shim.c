// SPDX-License-Identifier: BSD-3-Clause
//
// libbulk_shim.so: brings the transport module into a UCX that finds no plug-ins by itself (before 1.22).
//
// The shim is preloaded (by bulk-run) and needs only libc, so a process that never uses UCX pays next to
// nothing and gets no UCX. It stands in front of one function of UCX, uct_query_components, which every user
// of UCX calls first of all and from outside of libuct, so that the call always goes through the dynamic
// linker: also where Open MPI opened its UCX component, and with it libucp and libuct, for itself alone
// (RTLD_LOCAL), because a preloaded library comes first in everybody's search.
//
// The first call opens the module. Its libuct.so.0 and libucs.so.0 are already there then, whatever folder
// they came from, and the dynamic linker takes them by their name: no second UCX comes in. The module's
// constructor registers the transport, and the call goes on to the real function.
//
// Where a process has two UCX at once, each caller is led to its own; the module joins the one that was
// loaded first.
//
// Environment: BULK_UCT_MODULE names another module file (ignored in programs with elevated rights, which do
// not get the shim either). Failures are told to users that name `bulk` in UCX_TLS, and to nobody else.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef BULK_MODULE_PATH
#error "BULK_MODULE_PATH must be the installed path of the UCT module"
#endif

#define EXPORT __attribute__((visibility("default")))

// As UCX declares it; a status is one byte there.
typedef signed char QueryComponents(void **components, unsigned *count);

EXPORT QueryComponents uct_query_components;

static const char function_name[] = "uct_query_components";
static const signed char status_unsupported = -22;

static pthread_once_t once = PTHREAD_ONCE_INIT;

// Whether UCX_TLS has `bulk` as an element; the module itself judges more finely (transport_list.cpp).
static int user_asks_for_bulk(void)
{
	const char *list = getenv("UCX_TLS");

	if (!list || *list == '^')
		return 0;
	for (;;) {
		size_t length = strcspn(list, ",");

		if (length == 4 && !strncmp(list, "bulk", 4))
			return 1;
		if (!list[length])
			return 0;
		list += length + 1;
	}
}

static void open_module(void)
{
	const char *path = secure_getenv("BULK_UCT_MODULE");

	if (!path || !*path)
		path = BULK_MODULE_PATH;
	// Kept open for good: UCX has pointers into it.
	if (!dlopen(path, RTLD_LAZY | RTLD_LOCAL) && user_asks_for_bulk())
		fprintf(stderr, "bulk-run: the transport `bulk' is not available: %s\n", dlerror());
}

// The function as the object that contains `caller` would have found it without us.
static QueryComponents *real_function_for(const void *caller)
{
	QueryComponents *found = NULL;
	struct link_map *map = NULL;
	Dl_info info;
	void *handle;

	// In a library: search that library and what it depends on.
	if (dladdr1(caller, &info, (void **)&map, RTLD_DL_LINKMAP) && map && *map->l_name) {
		handle = dlopen(map->l_name, RTLD_LAZY | RTLD_NOLOAD);
		if (handle) {
			found = (QueryComponents *)dlsym(handle, function_name);
			dlclose(handle);
		}
	}
	// In the program: what comes after us in its search.
	if (!found || found == uct_query_components)
		found = (QueryComponents *)dlsym(RTLD_NEXT, function_name);
	// Found with dlsym in a library opened for its caller alone.
	if (!found) {
		handle = dlopen("libuct.so.0", RTLD_LAZY | RTLD_NOLOAD);
		if (handle) {
			found = (QueryComponents *)dlsym(handle, function_name);
			dlclose(handle);
		}
	}
	return found == uct_query_components ? NULL : found;
}

signed char uct_query_components(void **components, unsigned *count)
{
	QueryComponents *real = real_function_for(__builtin_return_address(0));

	if (!real)
		return status_unsupported;
	pthread_once(&once, open_module);
	return real(components, count);
}
