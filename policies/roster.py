"""The IEEE 7012 (MyTerms) agreements as presets: what each lets a vendor do (section 12)."""

from typing import NamedTuple


class Agreement(NamedTuple):
    """One row of the roster; the columns are the vendor's."""

    family: str
    analytics: bool = False
    tracking: bool = False
    profiling: bool = False
    anonymised: bool = False
    portability: bool = False
    ai_training: bool = False

    @property
    def purposes(self) -> frozenset[str]:
        """The purposes that the agreement admits, our reading of its text."""
        return _ADMITTED[self.family] | (_WITH_ANALYTICS if self.analytics else frozenset())


def _purposes(*names: str) -> frozenset[str]:
    return frozenset(f"dpv:{name}" for name in names)


_ADMITTED = {
    "SD": _purposes(
        "ServiceProvision", "PaymentManagement", "RepairImpairments", "CustomerManagement", "CommunicationForCustomerCare", "ServicePersonalisation"
    ),
    "PDC-INTENT": _purposes("ServicePersonalisation", "DirectMarketing"),
    "PDC-AI": _purposes("ResearchAndDevelopment"),
    "PDC-GOOD": _purposes("PublicBenefit", "ScientificResearch", "NonCommercialResearch"),
}
_WITH_ANALYTICS = _purposes("ServiceMonitoring", "ServiceOptimisation")

# Columns: analytics, tracking, profiling, anonymised to third parties, portability required.
ROSTER = {
    "SD-BASE": Agreement("SD"),
    "SD-BASE-DP": Agreement("SD", portability=True),
    "SD-BASE-A": Agreement("SD", analytics=True),
    "SD-BASE-A-DP": Agreement("SD", analytics=True, portability=True),
    "SD-BASE-AT": Agreement("SD", analytics=True, tracking=True),
    "SD-BASE-AT-DP": Agreement("SD", analytics=True, tracking=True, portability=True),
    "SD-BASE-ATP": Agreement("SD", analytics=True, tracking=True, profiling=True),
    "SD-BASE-ATP-DP": Agreement("SD", analytics=True, tracking=True, profiling=True, portability=True),
    "SD-BASE-ATP-S3P": Agreement("SD", analytics=True, tracking=True, profiling=True, anonymised=True),
    "SD-BASE-ATP-S3P-DP": Agreement("SD", analytics=True, tracking=True, profiling=True, anonymised=True, portability=True),
    "PDC-INTENT": Agreement("PDC-INTENT", portability=True),
    "PDC-AI": Agreement("PDC-AI", portability=True, ai_training=True),
    "PDC-GOOD": Agreement("PDC-GOOD", portability=True),
}
"""Roster id -> Agreement. Third parties' analytics, tracking and profiling: never, in any row."""


def at_most(ours: str, theirs: str) -> bool:
    """Say whether `ours <= theirs`: one family, nothing more permitted, portability kept."""
    low, high = ROSTER[ours], ROSTER[theirs]
    return (
        low.family == high.family
        and low.analytics <= high.analytics
        and low.tracking <= high.tracking
        and low.profiling <= high.profiling
        and low.anonymised <= high.anonymised
        and low.portability >= high.portability
    )


def meet_bases(ours: str, theirs: str) -> str | None:
    """Return the stricter of two roster ids, or None; an empty id stands for any of them."""
    if not theirs or (ours and at_most(ours, theirs)):
        return ours
    if not ours or at_most(theirs, ours):
        return theirs
    return None
