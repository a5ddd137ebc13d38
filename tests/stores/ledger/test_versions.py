import threading

from stores.ledger import audit, versions
from stores.ledger.engine import Ledger
from tests.stores.ledger.world import World


def test_the_same_content_has_the_same_number(world: World) -> None:
    flow = world.ledgers["flow"]
    seen = [versions.version_for(flow, "data", "orders", content) for content in ("aa", "bb", "aa", "cc")]
    assert [version.name for version in seen] == ["data_v1", "data_v2", "data_v1", "data_v3"]
    assert [version.content for version in seen] == ["aa", "bb", "aa", "cc"]
    assert versions.versions(flow, "data", "orders") == [seen[0], seen[1], seen[3]]
    assert audit.verify(flow) == 3


def test_each_subject_counts_for_itself(world: World) -> None:
    flow = world.ledgers["flow"]
    versions.version_for(flow, "data", "orders", "aa")
    assert versions.version_for(flow, "data", "posts", "aa").name == "data_v1"
    assert versions.version_for(flow, "pipeline", "grownet", "aa").name == "pipeline_v1"
    assert versions.version_for(flow, "model", "recommendation", "aa").name == "recommendation-v1"
    assert versions.versions(flow, "data", "nothing") == []


def test_many_at_once_get_numbers_without_gaps(world: World) -> None:
    def run(own: str) -> None:
        ledger = Ledger.open(world.url, "flow")
        for content in ("shared", own):
            versions.version_for(ledger, "data", "orders", content)
        ledger.close()

    threads = [threading.Thread(target=run, args=(str(number),)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    found = versions.versions(world.ledgers["flow"], "data", "orders")
    assert [version.number for version in found] == [1, 2, 3, 4, 5, 6]
    assert len({version.content for version in found}) == 6
