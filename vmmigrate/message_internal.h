/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_MESSAGE_INTERNAL_H
#define VMMIGRATE_MESSAGE_INTERNAL_H

#include "vmmigrate/message.h"

#include <jansson.h>

/* Between message.c, which has the table of members, and message_members.c, which has those that
 * are more than one UUID, string, number or bool. */

/* Reads v, which is hostile, into the members of m that have this name. FAIL_PEER with the name. */
typedef int message_get(struct message *m, const json_t *v, const char *name, struct fail *why);
/* Writes them. NULL: the member is left out, or there is no memory. */
typedef json_t *message_put(const struct message *m);

message_get message_features_get, message_regions_get, message_extents_get, message_list_get,
	    message_images_get, message_wants_get, message_hashes_get, message_state_get,
	    message_from_get;
message_put message_features_put, message_regions_put, message_extents_put, message_list_put,
	    message_images_put, message_wants_put, message_hashes_put, message_state_put,
	    message_from_put;

/* Sets *why for a member with an invalid value. Returns -1. */
int message_invalid(const char *name, const char *what, struct fail *why);
/* A JSON integer, 0 to 2^63-1. -1 for anything else. */
int message_number(const json_t *v, uint64_t *out);

#endif
