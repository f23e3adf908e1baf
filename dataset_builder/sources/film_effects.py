"""What all viewers of a film share, measured on the DE features of FACED's sub000 to sub079 but sub023, 30 channels.

Clip means are in units of the person's SD between clips, seconds without their clip's mean in units of the person's SD
within clips. The covariance of what is shared is the mean product of two different people's values, so that nobody's
own variance enters.
"""

import numpy as np

from dataset_builder.sources.statistics import Correlation, make_bands

#: Share of the variance between a person's clips that belongs to the film.
SHARED_CLIP = np.array([0.184, 0.189, 0.090, 0.030, 0.009])

#: Share that two films of one emotion have in common more than films of two emotions; below zero in delta and theta.
SHARED_EMOTION = np.array([0.0, 0.0, 0.014, 0.019, 0.013])

#: Share of the variance between the seconds of a clip that belongs to that second of the film.
SHARED_SECOND = np.array([0.086, 0.075, 0.037, 0.036, 0.017])

#: Correlation of that shared course between one second and the next.
SHARED_AUTOCORRELATION = np.array([0.44, 0.38, 0.42, 0.52, 0.68])

#: The shared parts are few patterns over channels and bands: one holds 64 % of the shared course, five hold 90 % (of a
#: person's own course 23 % and 46 %); of what clips share 59 % and 94 %. Of 3, 4 and 5 patterns all were
#: tried on one made-up cohort, and 5 taken with its scores in view: 28 films are told with .79 (3: .75, 4: .78 before a
#: last change; FACED .76), nine emotions with .80 (.77, .80; FACED .80), 69 people to learn from and 20 unseen.
SHARED_PATTERNS = 5
SHARED_CLIP_CORRELATION = Correlation(
    0.58, 0.7, make_bands(0.87, 0.50, 0.21, 0.15, 0.69, 0.37, 0.09, 0.69, -0.20, 0.06)
)
SHARED_SECOND_CORRELATION = Correlation(
    0.68, 0.8, make_bands(0.85, 0.64, 0.40, 0.29, 0.80, 0.47, 0.28, 0.76, 0.30, 0.57)
)

#: Shares of a channel relative to the mean channel, rows as in `CHANNELS`; the sides of the head see most of what
#: films do to everybody. Mean of clips and seconds, rounded. The mastoids were not measured and count as average.
SHARED_CHANNELS = np.array(
    [0.8, 0.8, 0.6, 0.9, 1.0, 1.9, 2.0, 0.7, 0.7, 1.6, 1.5, 0.7, 0.8, 0.9, 1.6, 1.4]
    + [0.7, 0.7, 0.9, 0.8, 0.9, 0.7, 0.8, 1.0, 0.9, 1.1, 1.1, 0.8, 0.9, 0.9, 1.0, 1.0]
)

#: How strongly people show the shared course: SD between people and, within a person, between films, relative to the
#: mean. From products of a person's even and odd seconds with everybody else's mean, so that noise cancels.
GAIN_SD_PERSON = 0.21
GAIN_SD_TRIAL = 0.31
