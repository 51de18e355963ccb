/* Made by tools/emoji.mjs while bundling. */
declare module 'confab:emoji/*' {
    const lines: string;
    export default lines;
}
