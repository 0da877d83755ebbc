/* true.c: the container's /bin/true. As little as a program can do, so that
 * what is measured is the runtime. */
int main(void) { return 0; }
