/* How the kernel runs the calling thread. */
#ifndef CONFAB_BASE_THREAD_H
#define CONFAB_BASE_THREAD_H

/*
 * Asks the kernel to let the thread run soon after each wake, for short stretches, beside others of
 * the same priority that compute for long: it works little and much waits for it. Takes nothing
 * from them in sum and needs no rights; Linux before 6.12, or a filter of system calls, leaves
 * things as they were.
 */
void thread_wake_soon(void);
/*
 * Lets the thread stand back, nicer by `by`, where there are fewer processors than threads that
 * compute: it gets less of one, never nothing. Needs no rights, and nobody waits for it who does
 * not ask for something large.
 */
void thread_stand_back(int by);
/* Beside shards, whose turns everybody waits for: a third of what they get, when both want all. */
enum { THREAD_STANDS_BACK = 5 };

#endif
