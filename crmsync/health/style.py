"""How the page looks: light and dark, from a phone's width on."""

STYLE = """
:root{--page:#f6f7f9;--card:#fff;--ink:#171b22;--soft:#556070;--rule:#d9dee6;--ok:#1a7f4b;--look:#9a6200;
--bad:#c4232b;--bar:#3467c4;--odd:#b8460e;--skip:#7b8794;--lag:#6d3fb8;--gap:#8a94a3;--gap-fill:#eceff3}
@media(prefers-color-scheme:dark){:root{--page:#0f1217;--card:#171b22;--ink:#e8ebf0;--soft:#a5afbd;--rule:#2e3541;
--ok:#4fc98b;--look:#e3ae45;--bad:#ff7a75;--bar:#79a6ff;--odd:#ff9a57;--skip:#8f9bab;--lag:#b794ff;--gap:#7c8798;
--gap-fill:#1f2530}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"DejaVu Sans",sans-serif;-webkit-text-size-adjust:100%}
header,main{max-width:1240px;margin:0 auto;padding:0 16px}
header{padding-top:18px}
h1{font-size:1.25rem;margin:0}
h2{font-size:1.4rem;margin:0 0 .5rem;overflow-wrap:anywhere}
h3{font-size:1rem;margin:1.6rem 0 .4rem}
p{margin:.2rem 0}
ul{margin:0;padding:0;list-style:none}
.as-of,.small,.remark,figcaption span,.more{color:var(--soft)}
.as-of{font-size:.86rem;overflow-wrap:anywhere}
.small{font-size:.86rem}
nav{display:flex;flex-wrap:wrap;gap:.5rem 1rem;margin:.8rem 0 0}
nav a{color:inherit}
section,main>details{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:16px;
margin:16px 0}
.pill{display:inline-block;font-size:.8rem;font-weight:700;letter-spacing:.03em;padding:.15em .7em;
border-radius:99px;color:var(--card);vertical-align:middle}
.pill.ok{background:var(--ok)}.pill.warning{background:var(--look)}.pill.critical{background:var(--bad)}
.pill.unknown{background:var(--soft)}
.reasons li{border-left:4px solid var(--rule);padding:.1rem 0 .1rem .7rem;margin:.3rem 0;overflow-wrap:anywhere}
.reasons .critical{border-color:var(--bad)}.reasons .warning{border-color:var(--look)}
.reasons .unknown{border-color:var(--soft)}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(148px,1fr));
border:1px solid var(--rule);border-radius:8px;overflow:hidden;margin:.9rem 0 0}
.tiles div{box-shadow:0 0 0 1px var(--rule);padding:.6rem .75rem}
.tiles dt{font-size:.8rem;color:var(--soft)}
.tiles dd{margin:0;font-size:1.2rem;font-weight:650;overflow-wrap:anywhere}
.tiles dd.small{font-size:.8rem;font-weight:400}
.outstanding li{padding:.25rem 0 .25rem 26px;position:relative;overflow-wrap:anywhere}
.outstanding .glyph{position:absolute;left:0;top:.62rem}
.when{color:var(--soft);font-variant-numeric:tabular-nums}
.nothing{margin-top:1rem}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;font-size:.86rem;color:var(--soft)}
figure{margin:.7rem 0 0}
figcaption{font-size:.9rem}
.chart{display:block;overflow:visible;margin-left:46px;width:calc(100% - 50px)}
.defs{position:absolute}
.glyph,.at{overflow:visible}
svg text{font-size:11.5px;fill:var(--soft);font-variant-numeric:tabular-nums}
text.amount,text.limit-name,text.end{text-anchor:end}
text.start{text-anchor:start}
text.time,text.none,text.note{text-anchor:middle}
text.note.start{text-anchor:start}text.note.end{text-anchor:end}
text.note{font-weight:650}
text.note,text.limit-name{paint-order:stroke;stroke:var(--card);stroke-width:4px;stroke-linejoin:round}
.note.failure{fill:var(--bad)}.note.spike,.note.rejects,.note.drop{fill:var(--odd)}.note.gap{fill:var(--ink)}
.bar{stroke-width:var(--narrow)}
.bar.written{stroke:var(--bar)}.bar.rejected{stroke:var(--look)}.bar.skipped{stroke:var(--skip)}
.bar.duration{stroke:var(--bar)}.bar.ok{stroke:var(--ok)}.bar.look{stroke:var(--look)}.bar.failed{stroke:var(--bad)}
.bar.apart{stroke:var(--skip)}.bar.spike,.bar.drop,.bar.rejects{stroke:var(--odd)}
.mark{stroke:none;fill:var(--odd)}
.mark.failure{stroke:var(--bad);stroke-width:2.6;stroke-linecap:round;fill:none}
.grid{stroke:var(--rule);stroke-width:1}
.grid.base,.tick{stroke:var(--gap);stroke-width:1}
.gap{fill:url(#gap)}
.hatch{stroke:var(--gap);stroke-width:1.2;opacity:.65}
.under{opacity:.22;stroke:none}.under.lag{fill:var(--lag)}.under.quota{fill:var(--bar)}
.over{fill:none;stroke-width:2;vector-effect:non-scaling-stroke;stroke-linejoin:round}
.over.lag{stroke:var(--lag)}.over.quota{stroke:var(--bar)}
.limit{stroke:var(--bad);stroke-width:1.3;stroke-dasharray:5 4}
text.limit-name{fill:var(--bad)}
.rejects li{border-top:1px solid var(--rule);padding:.5rem 0;overflow-wrap:anywhere}
.meter{height:6px;border-radius:3px;background:var(--rule);max-width:420px;overflow:hidden}
.meter span{display:block;height:100%;background:var(--look)}
code{font:.88em ui-monospace,"DejaVu Sans Mono",monospace}
details{margin-top:1.4rem}
summary{cursor:pointer;font-weight:650}
table{border-collapse:collapse;width:100%;font-size:.84rem;margin-top:.6rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.3rem .35rem;border-top:1px solid var(--rule);vertical-align:top}
thead th{border:0;color:var(--soft);font-weight:500}
.n{text-align:right}
.settings th{font-weight:500;width:44%}
.settings th,.settings td,.said td{overflow-wrap:anywhere}
tr.failed td{color:var(--bad)}tr.odd td{color:var(--odd)}
tr.said td{border:0;padding-top:0}
.on-desk{display:none}
@media(min-width:700px){.bar{stroke-width:var(--wide)}.on-desk{display:table-cell}text.on-desk{display:inline}
section,main>details{padding:22px 26px}header,main{padding-left:24px;padding-right:24px}}
@media print{body{background:#fff}details{display:none}}
"""
