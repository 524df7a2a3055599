// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Features of network devices, named as by ethtool -k. */
#include <errno.h>
#include <linux/ethtool.h>
#include <stdlib.h>
#include <string.h>

#include "net.h"

/* How many features a device may have, named as by ethtool -k; 0: not known. */
static unsigned int features(const char *ifname)
{
	struct ethtool_sset_info *set = calloc(1, sizeof(*set) + sizeof(set->data[0]));
	unsigned int n = 0;

	if (!set)
		return 0;
	set->cmd = ETHTOOL_GSSET_INFO;
	set->sset_mask = 1ULL << ETH_SS_FEATURES;
	if (!net_ethtool(ifname, set) && set->sset_mask)
		n = set->data[0];
	free(set);
	return n;
}

/* The number of a feature among `n`; negative: there is none of that name. */
static int feature_number(const char *ifname, unsigned int n, const char *feature)
{
	struct ethtool_gstrings *names = calloc(1, sizeof(*names) + (size_t)n * ETH_GSTRING_LEN);
	int found = -ENOENT;
	unsigned int i;

	if (!names)
		return -ENOMEM;
	names->cmd = ETHTOOL_GSTRINGS;
	names->string_set = ETH_SS_FEATURES;
	names->len = n;
	if (!net_ethtool(ifname, names))
		for (i = 0; i < names->len && found < 0; i++)
			if (!strncmp((char *)names->data + i * ETH_GSTRING_LEN, feature, ETH_GSTRING_LEN))
				found = (int)i;
	free(names);
	return found;
}

/* The number of a feature, and the number of 32-bit words; negative: there is none of that name. */
static int feature_find(const char *ifname, const char *feature, unsigned int *words)
{
	unsigned int n = features(ifname);

	*words = (n + 31) / 32;
	return n ? feature_number(ifname, n, feature) : -ENOENT;
}

bool net_feature(const char *ifname, const char *feature)
{
	struct ethtool_gfeatures *get;
	unsigned int words;
	int at = feature_find(ifname, feature, &words);
	bool on;

	get = at < 0 ? NULL : calloc(1, sizeof(*get) + words * sizeof(get->features[0]));
	if (!get)
		return false;
	get->cmd = ETHTOOL_GFEATURES;
	get->size = words;
	on = !net_ethtool(ifname, get) && get->features[at / 32].active & 1U << at % 32;
	free(get);
	return on;
}

void net_feature_on(const char *ifname, const char *feature)
{
	struct ethtool_sfeatures *set;
	unsigned int words;
	int at = feature_find(ifname, feature, &words);

	set = at < 0 ? NULL : calloc(1, sizeof(*set) + words * sizeof(set->features[0]));
	if (!set)
		return;
	set->cmd = ETHTOOL_SFEATURES;
	set->size = words;
	set->features[at / 32].valid = set->features[at / 32].requested = 1U << at % 32;
	net_ethtool(ifname, set);
	free(set);
}
