/*
 * The app's icons as PNG, painted from the SVGs by resvg in WebAssembly: no compiler, no browser, the
 * same bytes everywhere.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { initWasm, Resvg } from '@resvg/resvg-wasm';

let ready;

export async function png(svgFile, size) {
    const wasm = createRequire(import.meta.url).resolve('@resvg/resvg-wasm/index_bg.wasm');
    ready ??= initWasm(readFileSync(wasm));
    await ready;
    const image = new Resvg(readFileSync(svgFile, 'utf8'), { fitTo: { mode: 'width', value: size } });
    return Buffer.from(image.render().asPng());
}
