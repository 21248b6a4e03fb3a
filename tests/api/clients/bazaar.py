"""The x402 package's Bazaar client, unchanged: arguments URL and key; writes what it found."""

import json
import sys

from x402.extensions.bazaar import ListDiscoveryResourcesParams, with_bazaar
from x402.http.facilitator_client import FacilitatorConfig, HTTPFacilitatorClientSync

client = with_bazaar(HTTPFacilitatorClientSync(FacilitatorConfig(url=sys.argv[1])))
listed = client.extensions.bazaar.list_resources(ListDiscoveryResourcesParams(limit=9))
(entry,) = (one for one in listed.items if one.resource.endswith("/digits/infer"))
accepts = entry.accepts[0]
print(json.dumps({"resource": entry.resource} | {k: accepts[k] for k in ("scheme", "amount")}))
