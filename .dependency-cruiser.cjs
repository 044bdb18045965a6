/** Import direction is part of the design; docs/architecture.md explains each line. */
const layer = (name, comment, mayImport) => ({
  name: `${name}-imports`,
  severity: 'error',
  comment,
  from: { path: `^src/${name}/` },
  to: { pathNot: [`^src/${name}/`, ...mayImport] },
});
const MODEL = '^src/model/';
const RXJS = 'node_modules/rxjs/';
const NOBLE = 'node_modules/@noble/hashes/';
const NODE =
  '^(node:)?(buffer|child_process|dgram|events|fs|fs/promises|https?|net|os|path|stream|timers|url|util|zlib)(/|$)';

module.exports = {
  forbidden: [
    layer('model', 'the vocabulary depends on nothing', []),
    layer('decode', 'bytes and text in, model values out', [MODEL, NOBLE]),
    layer('correlate', 'a pure machine over model values', [MODEL, NOBLE]),
    layer('explain', 'a pure view over rule sets and one connection', [MODEL, '^src/correlate/']),
    layer('pipeline', 'composition of the core; the only core folder that knows rxjs', [
      MODEL,
      '^src/(decode|correlate|explain)/',
      RXJS,
    ]),
    layer('sources', 'adapters: never see the correlator, a sink or the CLI', [
      MODEL,
      '^src/decode/',
      '^src/native/binding[.]ts$',
      RXJS,
      NODE,
      'node_modules/(cap|@kubernetes/client-node)/',
    ]),
    layer('sinks', 'adapters: never see where an event came from', [
      MODEL,
      NODE,
      'node_modules/(picocolors|string-width)/',
    ]),
    layer('native', 'the one door to the addon', [NODE, '^(node:)?module$']),
    layer('lab', 'the small node in network namespaces: only the operating system', [
      MODEL,
      '^src/decode/',
      NODE,
    ]),
    {
      name: 'numbers-of-the-packet-path-import-nothing',
      severity: 'error',
      comment: 'else esbuild no longer writes them where they are used (docs/architecture.md)',
      from: {
        path: '^src/(model/(packet|conntrack)|correlate/(connection|plain-words|windows)|decode/capture/(link-types|straight-form|outcome))[.]ts$',
      },
      to: { dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'only-sources-load-the-addon',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(sources|native)/' },
      to: { path: '^src/native/binding[.]ts$' },
    },
    {
      name: 'main-only-starts-the-cli',
      severity: 'error',
      from: { path: '^src/main[.]ts$' },
      to: { pathNot: '^src/cli/' },
    },
    {
      name: 'core-does-no-io',
      severity: 'error',
      comment: 'live and replay share it',
      from: { path: '^src/(model|decode|correlate|explain|pipeline)/' },
      to: { dependencyTypes: ['core'] },
    },
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'src-never-imports-test',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^test/' },
    },
    {
      name: 'only-declared-dependencies',
      severity: 'error',
      from: { path: '^src/' },
      to: {
        dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'],
        dependencyTypesNot: ['npm'],
      },
    },
    {
      name: 'everything-resolves',
      severity: 'error',
      comment: 'the scripts run what was built, which is not there before the build',
      from: { pathNot: '^test/sources/scripts/' },
      to: { couldNotResolve: true },
    },
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
    },
  },
};
