/** Link types as capture files number them: https://www.tcpdump.org/linktypes.html */
export const LINK_ETHERNET = 1;
export const LINK_SLL2 = 276;
export const LINK_NULL = 0;
/** DLT_RAW as some systems wrote it into files before LINKTYPE_RAW was fixed at 101 (pcap/dlt.h). */
export const LINK_RAW_12 = 12;
export const LINK_RAW_14 = 14;
export const LINK_RAW = 101;
export const LINK_LOOP = 108;
export const LINK_SLL = 113;
export const LINK_IPV4 = 228;
export const LINK_IPV6 = 229;

export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_IPV6 = 0x86dd;
/** 802.1Q. */
export const ETHERTYPE_VLAN = 0x8100;
