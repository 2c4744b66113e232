# SPDX-License-Identifier: BSD-3-Clause
"""`lab bench`: bulk beside every peer, on two hosts, in one run.

    plan     contenders, rows: who is measured, by which commands
    runner   rounds, samples, whether this machine was quiet
    figures  medians, ratios, targets
    report   CSV, Markdown, SVG plots
    curves   the other form: what one more costs beside so many
"""
