/* The number type of activations and weights: float, or double in the tree that checks gradients (-DREAL=double). */
#ifndef REAL_H
#define REAL_H

#ifndef REAL
#define REAL float
#define REAL_BYTES 4
#endif
typedef REAL real;

#endif
