// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "inspect.h"

#include <string.h>

const struct inspector *const inspectors[] = {
	&inspector_tls,
	&inspector_http,
	&inspector_pattern,
	&inspector_count,
	&inspector_replace,
	&inspector_proxy,
	&inspector_headers,
	NULL,
};

const struct inspector *inspector_find(const char *name)
{
	for (const struct inspector *const *i = inspectors; *i; i++) {
		if (!strcmp((*i)->name, name))
			return *i;
	}
	return NULL;
}
