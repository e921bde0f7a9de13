#include "textflag.h"

// func prefetchLines(p *byte)
TEXT ·prefetchLines(SB), NOSPLIT, $0-8
	MOVQ p+0(FP), AX
	// PREFETCHW 64(AX), 128(AX), 192(AX)
	BYTE $0x0f; BYTE $0x0d; BYTE $0x48; BYTE $0x40
	BYTE $0x0f; BYTE $0x0d; BYTE $0x88; BYTE $0x80; BYTE $0x00; BYTE $0x00; BYTE $0x00
	BYTE $0x0f; BYTE $0x0d; BYTE $0x88; BYTE $0xc0; BYTE $0x00; BYTE $0x00; BYTE $0x00
	RET
