"""Why data may be used: the purposes of DPV 2.3, and when one of them covers another."""

from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import NamedTuple


class Purpose(NamedTuple):
    """A purpose: its label after "to", its parents, and whether it must be named to be covered."""

    label: str
    parents: tuple[str, ...] = ()
    named_only: bool = False


# Each line: name | label | parents. A star marks a purpose that no wider one covers.
_TABLE = """
ServiceManagement | run their service |
PaymentManagement | handle payments | ServiceManagement
RepairImpairments | repair what does not work | ServiceManagement
ServiceMonitoring | watch how their service runs | ServiceManagement
ServiceUsageAnalytics | analyse how their service is used | ServiceMonitoring
ServiceOptimisation | improve their service | ServiceManagement
OptimisationForConsumer | improve their service for you | ServiceOptimisation
OptimisationForController | improve their service for themselves | ServiceOptimisation
ImproveExistingProductsAndServices | improve their products and services | OptimisationForController
ServiceProvision | provide their service | ServiceManagement
RequestedServiceProvision | provide what you asked for | ServiceProvision
DeliveryOfGoods | deliver goods | RequestedServiceProvision
SellProducts | sell products | ServiceProvision
SellProductsToDataSubject | sell products to you | SellProducts
SellDataToThirdParties* | sell your data to others | SellProducts
SellInsightsFromData* | sell what they learn from your data | SellProducts
CustomerManagement | look after you as a customer |
CustomerCare | help you as a customer | CustomerManagement
CustomerOrderManagement | handle your orders | CustomerManagement
CustomerClaimsManagement | handle your claims | CustomerManagement
CustomerRelationshipManagement | keep up the relationship with you | CustomerManagement
Personalisation | adapt things to you |
CommunicationManagement | organise how they communicate |
CommercialPurpose | earn money |
NonCommercialPurpose | serve an aim that earns no money |
PublicBenefit | benefit the public |
Marketing | promote what they offer |
DirectMarketing | tell you about their products | Marketing
Advertising | advertise | Marketing
EnforceSecurity | keep things secure |
MisusePreventionAndDetection | prevent and find misuse | EnforceSecurity
FraudPreventionAndDetection | prevent and find fraud | MisusePreventionAndDetection
ResearchAndDevelopment | research and develop |
ScientificResearch | do scientific research | ResearchAndDevelopment
AcademicResearch | do academic research | ResearchAndDevelopment
ServicePersonalisation | adapt their service to you | Personalisation, ServiceManagement
PersonalisedBenefits | give you benefits made for you | ServicePersonalisation
ProvidePersonalisedRecommendations | recommend things to you | ServicePersonalisation
ProvideProductRecommendations | recommend products to you | ProvidePersonalisedRecommendations
ProvideEventRecommendations | recommend events to you | ProvidePersonalisedRecommendations
PersonalisedAdvertising | show you advertising adapted to you | Advertising, Personalisation
TargetedAdvertising* | target advertising at you | PersonalisedAdvertising
CommunicationForCustomerCare | talk with you to help you | CommunicationManagement, CustomerCare
ImproveInternalCRMProcesses | improve how they look after customers \
| CustomerRelationshipManagement, OptimisationForController
CommercialResearch | do research that earns money | CommercialPurpose, ResearchAndDevelopment
NonCommercialResearch | do research that earns no money \
| NonCommercialPurpose, ResearchAndDevelopment
"""


def _read_table() -> dict[str, Purpose]:
    table = {}
    for line in _TABLE.strip().splitlines():
        name, label, parents = (part.strip() for part in line.split("|"))
        named = tuple(f"dpv:{parent}" for parent in parents.split(", ") if parent)
        table[f"dpv:{name.rstrip('*')}"] = Purpose(label, named, name.endswith("*"))
    return table


PURPOSES = _read_table()
"""DPV identifier -> Purpose. Nothing else can be asked; frozen from DPV 2.3."""


def _ancestors(purpose: str) -> frozenset[str]:
    parents = PURPOSES[purpose].parents
    return frozenset(parents).union(*(_ancestors(parent) for parent in parents))


_ANCESTORS = {purpose: _ancestors(purpose) for purpose in PURPOSES}


def covered(purpose: str, allowed: Collection[str]) -> bool:
    """Say whether `allowed` admits a purpose (U1): itself, or *all* of its parents."""
    if purpose in allowed:
        return True
    known = PURPOSES.get(purpose)
    if known is None or known.named_only or not known.parents:
        return False
    return all(covered(parent, allowed) for parent in known.parents)


def hit(purpose: str, denied: Collection[str]) -> bool:
    """Say whether a deny of `denied` reaches a purpose (U1): itself, or *any* ancestor."""
    return purpose in denied or not _ANCESTORS.get(purpose, frozenset()).isdisjoint(denied)


def without_covered(purposes: Iterable[str]) -> frozenset[str]:
    """Leave out each purpose that the rest covers."""
    every = frozenset(purposes)
    return frozenset(purpose for purpose in every if not covered(purpose, every - {purpose}))


def meet_purposes(ours: Collection[str], theirs: Collection[str]) -> frozenset[str]:
    """Return what both sides admit (U2)."""
    return _meet(frozenset(ours), frozenset(theirs))


@lru_cache(maxsize=4096)
def _meet(ours: frozenset[str], theirs: frozenset[str]) -> frozenset[str]:
    return without_covered({purpose for purpose in ours if covered(purpose, theirs)} | {purpose for purpose in theirs if covered(purpose, ours)})
