/* A QR code as an image of squares: dark on light in both themes, as cameras want it. */
import { encode } from 'uqr';

const BORDER = 3;

/* One path for all dark squares of a row of them: "M x y h n v 1 h -n z". */
export function qrPath(text: string): { path: string; size: number } {
    const { data, size } = encode(text, { ecc: 'M', border: BORDER });
    let path = '';
    data.forEach((row, y) => {
        for (let x = 0; x < size; x++) {
            let n = 0;
            while (x + n < size && row[x + n]) {
                n++;
            }
            if (n > 0) {
                path += `M${x} ${y}h${n}v1h${-n}z`;
                x += n;
            }
        }
    });
    return { path, size };
}

export function QrCode({ text, label }: { text: string; label: string }) {
    const { path, size } = qrPath(text);
    return (
        <svg class="qr" viewBox={`0 0 ${size} ${size}`} role="img" aria-label={label} data-test="qr" shape-rendering="crispEdges">
            <rect width={size} height={size} fill="#fff" />
            <path d={path} fill="#000" />
        </svg>
    );
}
