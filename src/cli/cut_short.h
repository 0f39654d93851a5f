/* Files are mapped, not copied: one that another program cuts short while it is in use, or a disk that fails, raises SIGBUS where its bytes
 * are next touched, anywhere below. There is no way back into that reader, so the process ends, as after any error, with a line that
 * names the file and with the exit code of LAMP_IO. What it was writing is left as by kill -9, which never harms what is there. */
#ifndef CUT_SHORT_H
#define CUT_SHORT_H

void cut_short_install(void);

#endif
