/*
 * confabd log inspect | replay | repair: the event log offline. The data directory must not be in
 * use. Inspect and replay change nothing.
 */
#ifndef CONFAB_CONFABD_LOG_TOOL_H
#define CONFAB_CONFABD_LOG_TOOL_H

/* What follows `confabd log`. Returns the exit code: 0; 1 damage or another failure; 2 usage. */
int log_tool(int argc, char **argv);

#endif
