#ifndef AMBROSIA_COMMON_PROMPT_H
#define AMBROSIA_COMMON_PROMPT_H

/*
 * How long the calling thread, and each that it starts afterwards, may keep a processor while others are ready. From Linux 6.12 a thread
 * that asks for short turns gets the next one sooner, before whoever has longer ones, and has no larger share of the whole; an older kernel
 * has one length for all and takes no notice. A kernel, or a sandbox, that refuses changes nothing. Nice value and policy stay.
 */

#define PROMPT_SLICE_US 100u      /* the least that Linux grants */
#define PATIENT_SLICE_US 500u     /* who yields gives up the rest of it */

void prompt_thread(void);         /* it passes on what others wait for */
void patient_thread(void);        /* it computes */

#endif
