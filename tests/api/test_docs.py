"""The documentation knows every metric, configuration key and path of the program."""
import pathlib
import re
import unittest

from tidemark import Tidemark, v1_series

ROOT = pathlib.Path(__file__).resolve().parents[2]


def page(name):
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def config_keys(text):
    """Keys of docs/tidemark.yaml, those that are commented out too, as section.key."""
    section = ""
    for line in text.splitlines():
        match = re.match(r"^(\s*)(?:# )?([a-z_]+):(.*)$", line)
        if not match:
            continue
        indent, key, rest = match.groups()
        if not indent and line.startswith("#"):
            continue  # A sentence.
        if indent:
            yield section + "." + key
        elif rest.strip():
            yield key
        else:
            section = key


def struct_keys(text):
    """Keys that the program reads, from the schema in config.c."""
    sections = {}
    for name, body in re.findall(r"cyaml_schema_field_t (\w+)_fields\[\] = \{(.*?)\};", text, re.S):
        sections[name] = re.findall(r"(?:TEXT|COUNT)\(\s*\w+,\s*(\w+)\)", body)
    return {key if name == "file" else name + "." + key for name, keys in sections.items() for key in keys}


def route_paths():
    """Paths of the route tables in the sources, and of the embedded files."""
    paths = set()
    for source in ("querier/src/querier.c", "tidemark/src/run.c"):
        paths.update(re.findall(r'\{"[A-Z,]+",\s*"(/[^"]*)"', (ROOT / source).read_text(encoding="utf-8")))
    for folder in ("web/files", "third_party/uplot"):
        for file in (ROOT / folder).iterdir():
            if file.suffix in (".html", ".js", ".css", ".svg"):
                paths.add("/" if file.name == "index.html" else "/" + file.name)
    return paths


class Docs(unittest.TestCase):
    def test_every_metric_is_in_metrics_md(self):
        text = page("metrics.md")
        with Tidemark() as tide:
            tide.write(v1_series({"__name__": "x"}, [(1000, 1.0)]))
            tide.query("x", 1)
            exposition = tide.get("/metrics").body.decode()
        types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", exposition, re.M))
        self.assertGreater(len(types), 40)
        for name, kind in types.items():
            with self.subTest(metric=name):
                row = re.search(r"^\|.*`%s`.*$" % re.escape(name), text, re.M)
                self.assertIsNotNone(row, "%s is not in docs/metrics.md" % name)
                self.assertIn(kind, row.group().split("|")[2], "%s is a %s" % (name, kind))
        for labels in re.findall(r"^[a-z_]+\{([^}]*)\}", exposition, re.M):
            for label in re.findall(r'(\w+)="', labels):
                self.assertTrue(label == "le" or "`%s`" % label in text, "label %s is not in docs/metrics.md" % label)

    def test_every_metric_of_metrics_md_is_there(self):
        with Tidemark() as tide:
            exposition = tide.get("/metrics").body.decode()
        names = set(re.findall(r"^# TYPE (\S+) ", exposition, re.M))
        table = page("metrics.md").split("## Worth an alert")[0]
        written = {name for row in re.findall(r"^\|(.*?)\|", table, re.M)
                   for name in re.findall(r"`((?:tide|process)_\w+)`", row)}
        # Builds with sanitizers have no jemalloc.
        self.assertEqual(written - names - {"tide_allocator_bytes"}, set())

    def test_every_metric_of_the_sources_is_exposed_from_the_start(self):
        with Tidemark() as tide:
            exposition = tide.get("/metrics").body.decode()
        names = set(re.findall(r"^# TYPE (\S+) ", exposition, re.M)) | {"tide_allocator_bytes"}
        written = set()
        for part in ("libcommon", "distributor", "ingester", "querier", "tidemark"):
            for source in (ROOT / part).glob("**/src/*.c"):
                written.update(re.findall(r'"(tide_[a-z]+_[a-z_]+(?:_total|_seconds|_bytes|_info))"',
                                          source.read_text(encoding="utf-8")))
        self.assertGreater(len(written), 30)
        self.assertEqual(written - names, set())

    def test_every_configuration_key_is_explained(self):
        keys = set(config_keys(page("tidemark.yaml")))
        self.assertGreater(len(keys), 25)
        text = page("limits.md") + page("operations.md")
        for key in sorted(keys):
            with self.subTest(key=key):
                self.assertTrue("`%s`" % key in text, "neither in docs/limits.md nor in docs/operations.md")

    def test_the_example_has_every_key_of_the_program(self):
        schema = struct_keys((ROOT / "tidemark/src/config.c").read_text(encoding="utf-8"))
        self.assertEqual(schema, set(config_keys(page("tidemark.yaml"))))

    def test_every_path_is_in_api_md(self):
        paths = route_paths()
        self.assertGreater(len(paths), 20)
        text = page("api.md")
        for path in sorted(paths):
            with self.subTest(path=path):
                self.assertTrue("`%s`" % path in text, "not in docs/api.md")

    def test_every_path_of_api_md_is_served(self):
        paths = set(re.findall(r"`(/[^` ]*)`", page("api.md").split("## Writing")[0]))
        with Tidemark() as tide:
            for path in sorted(paths):
                if "{" in path or path == "/prometheus":
                    continue
                with self.subTest(path=path):
                    self.assertNotEqual(tide.get(path.replace("*", "job")).status, 404)

    def test_links_between_pages_lead_somewhere(self):
        pages = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")]
        pages += sorted((ROOT / "docs").glob("**/*.md"))
        for file in pages:
            for target in re.findall(r"\]\(([^)#]+)[^)]*\)", file.read_text(encoding="utf-8")):
                if "://" in target:
                    continue
                with self.subTest(page=file.name, link=target):
                    self.assertTrue((file.parent / target).exists())


if __name__ == "__main__":
    unittest.main()
