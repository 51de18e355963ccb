/* What every screen is held to: axe finds nothing serious, nobody has to scroll sideways. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Person } from './harness.js';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

interface Violation {
    id: string;
    impact: string;
    nodes: { html: string; failureSummary: string }[];
}

/* Nothing of what axe calls serious or critical. */
export async function accessible(p: Person, where: string): Promise<void> {
    await p.page.evaluate(axe);
    const found = await p.page.evaluate(async () => {
        const run = (window as unknown as { axe: { run: (o: unknown) => Promise<{ violations: Violation[] }> } }).axe;
        return (await run.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })).violations;
    });
    const bad = found.filter((v) => v.impact === 'serious' || v.impact === 'critical');
    const text = bad.map((v) => `${v.id}: ${v.nodes.map((n) => `${n.html}\n  ${n.failureSummary}`).join('\n')}`).join('\n');
    assert.equal(text, '', `${where}:\n${text}`);
}

/* Nobody has to scroll sideways. */
export async function fits(p: Person, where: string): Promise<void> {
    const [content, width] = await p.page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok((content ?? 0) <= (width ?? 0), `${where}: ${content} px wide in ${width} px`);
}
