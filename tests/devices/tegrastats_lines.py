"""Lines of tegrastats in the grammar of each L4T release, made up, with what they say."""

from __future__ import annotations

from datetime import datetime
from typing import Any

NOTHING: dict[str, Any] = {
    "timestamp": None,
    "ram_used_mb": None,
    "ram_total_mb": None,
    "lfb_blocks": None,
    "swap_used_mb": None,
    "swap_total_mb": None,
    "swap_cached_mb": None,
    "cpu_load_pct": None,
    "cpu_freq_mhz": None,
    "emc_load_pct": None,
    "emc_freq_mhz": None,
    "gr3d_load_pct": None,
    "gr3d_freq_mhz": (),
    "temps_c": {},
    "rails_mw": {},
    "nc_rails": 0,
}

L4T_21 = (
    "RAM 700/1800MB (lfb 130x4MB) SWAP 3/2000MB (cached 1MB) cpu [25%,off,1%,0%]@2200 EMC 3%@900 "
    "GR3D 7%@250 EDP limit 0"
)
L4T_28 = (
    "RAM 1600/7800MB (lfb 1x512kB) CPU [4%@346,0%@344] EMC_FREQ 16%@102 GR3D_FREQ 71%@1300 APE 150 MTS fg 0% bg 0% "
    "BCPU@41C PMIC@100C thermal@39.9C VDD_IN 1776/1853 VDD_CPU 231/230 VDD_WIFI 0/0"
)
L4T_32 = (
    "RAM 900/3900MB (lfb 2x2MB) SWAP 191/1900MB (cached 6MB) IRAM 0/252kB(lfb 252kB) CPU [5%@1224,off] "
    "EMC_FREQ 0%@1600 GR3D_FREQ 0%@76 APE 25 PLL@37C AO@-256C POM_5V_IN 1750/1628 POM_5V_GPU -4/0"
)
L4T_32_NOT_ROOT = "RAM 1600/3800MB (lfb 339x4MB) CPU [3%@345,off] EMC_FREQ 0% GR3D_FREQ 12% GPU@50.5C"
XAVIER = (
    "RAM 721/31927MB (lfb 7291x4MB) CPU [2%@1190] EMC_FREQ 0%@665 GR3D_FREQ 0%@318 GPU@37.5C CPU@36C "
    "GPU 1/9 CPU 20/9 SOC 300/9 CV 0/9 VDDRQ 4000/9 SYS5V 50000/9"
)
L4T_35 = (
    "04-11-2025 10:36:27 RAM 4321/62801MB (lfb 1759x4MB) CPU [0%@729] EMC_FREQ 0%@2133 GR3D_FREQ 0%@[305,0] "
    "VIC_FREQ 729 CV0@-256C Tboard@32C VDD_GPU_SOC 2340mW/2000mW VDD_CPU_CV 390mW/300mW VIN_SYS_5V0 4025mW/4000mW "
    "NC 0mW/0mW VDDQ_VDD2_1V8AO 301mW/301mW NC 0mW/0mW"
)
L4T_36_WIDE = (
    "RAM 29114/30697MB (lfb 3x4MB)    SWAP 4915/15348MB (cached 1MB) CPU [3%@729] EMC_FREQ 1%@2133 GR3D_FREQ 0%@[305] "
    "NVENC      off  VIC        off        APE           174        cpu@53.062C    VDD_IN 3205mW/3205mW"
)
L4T_38 = (
    "RAM 3429/125773MB (lfb 12x4MB) CPU [0%@2601] EMC_FREQ 0%@2750 GR3D_FREQ @[494,494,494] NVENC0_FREQ @665 VIC off "
    "tj@35.875C VDD_GPU 3132mW/1mW VDD_CPU_SOC_MSS 9397mW/1mW VIN_SYS_5V0 5680mW/1mW"
)
L4T_39 = (
    "07-02-2026 13:45:44 RAM 36529/125749MB (lfb 12x4MB) CPU [2%@972] cpu@60.406C/59.5C VDD_GPU 37528mW/1mW/37528mW "
    "VDD_CPU_SOC_MSS 18961mW/1mW/18961mW VIN_SYS_5V0 18331mW/1mW/18331mW VIN 87426mW/43713mW/90000mW"
)
HEAD_CUT_OFF = "[0%@1190,1%@1190] EMC_FREQ 2%@1331 GR3D_FREQ 1%@114 AUX@36C VDD_IN 467mW/400mW"

LINES: dict[str, tuple[str, dict[str, Any]]] = {
    "L4T 21": (
        L4T_21,
        {
            "ram_used_mb": 700,
            "ram_total_mb": 1800,
            "lfb_blocks": 130,
            "swap_used_mb": 3,
            "swap_total_mb": 2000,
            "swap_cached_mb": 1,
            "cpu_load_pct": (25, None, 1, 0),
            "cpu_freq_mhz": (2200, None, 2200, 2200),
            "emc_load_pct": 3,
            "emc_freq_mhz": 900,
            "gr3d_load_pct": 7,
            "gr3d_freq_mhz": (250,),
        },
    ),
    "L4T 28": (
        L4T_28,
        {
            "ram_used_mb": 1600,
            "ram_total_mb": 7800,
            "lfb_blocks": 1,
            "cpu_load_pct": (4, 0),
            "cpu_freq_mhz": (346, 344),
            "emc_load_pct": 16,
            "emc_freq_mhz": 102,
            "gr3d_load_pct": 71,
            "gr3d_freq_mhz": (1300,),
            "temps_c": {"BCPU": 41.0, "PMIC": 100.0, "thermal": 39.9},
            "rails_mw": {"VDD_IN": (1776, 1853), "VDD_CPU": (231, 230), "VDD_WIFI": (0, 0)},
        },
    ),
    "L4T 32, with a core and a zone off and a negative power": (
        L4T_32,
        {
            "ram_used_mb": 900,
            "ram_total_mb": 3900,
            "lfb_blocks": 2,
            "swap_used_mb": 191,
            "swap_total_mb": 1900,
            "swap_cached_mb": 6,
            "cpu_load_pct": (5, None),
            "cpu_freq_mhz": (1224, None),
            "emc_load_pct": 0,
            "emc_freq_mhz": 1600,
            "gr3d_load_pct": 0,
            "gr3d_freq_mhz": (76,),
            "temps_c": {"PLL": 37.0, "AO": None},
            "rails_mw": {"POM_5V_IN": (1750, 1628), "POM_5V_GPU": (-4, 0)},
        },
    ),
    "L4T 32, not root": (
        L4T_32_NOT_ROOT,
        {
            "ram_used_mb": 1600,
            "ram_total_mb": 3800,
            "lfb_blocks": 339,
            "cpu_load_pct": (3, None),
            "cpu_freq_mhz": (345, None),
            "emc_load_pct": 0,
            "gr3d_load_pct": 12,
            "temps_c": {"GPU": 50.5},
        },
    ),
    "AGX Xavier, whose rails and zones share names": (
        XAVIER,
        {
            "ram_used_mb": 721,
            "ram_total_mb": 31927,
            "lfb_blocks": 7291,
            "cpu_load_pct": (2,),
            "cpu_freq_mhz": (1190,),
            "emc_load_pct": 0,
            "emc_freq_mhz": 665,
            "gr3d_load_pct": 0,
            "gr3d_freq_mhz": (318,),
            "temps_c": {"GPU": 37.5, "CPU": 36.0},
            "rails_mw": {
                "GPU": (1, 9),
                "CPU": (20, 9),
                "SOC": (300, 9),
                "CV": (0, 9),
                "VDDRQ": (4000, 9),
                "SYS5V": (50000, 9),
            },
        },
    ),
    "L4T 35, with a date, two GPU clocks and channels that are not connected": (
        L4T_35,
        {
            "timestamp": datetime(2025, 4, 11, 10, 36, 27),
            "ram_used_mb": 4321,
            "ram_total_mb": 62801,
            "lfb_blocks": 1759,
            "cpu_load_pct": (0,),
            "cpu_freq_mhz": (729,),
            "emc_load_pct": 0,
            "emc_freq_mhz": 2133,
            "gr3d_load_pct": 0,
            "gr3d_freq_mhz": (305, 0),
            "temps_c": {"CV0": None, "Tboard": 32.0},
            "rails_mw": {
                "VDD_GPU_SOC": (2340, 2000),
                "VDD_CPU_CV": (390, 300),
                "VIN_SYS_5V0": (4025, 4000),
                "VDDQ_VDD2_1V8AO": (301, 301),
            },
            "nc_rails": 2,
        },
    ),
    "L4T 36, with wide gaps": (
        L4T_36_WIDE,
        {
            "ram_used_mb": 29114,
            "ram_total_mb": 30697,
            "lfb_blocks": 3,
            "swap_used_mb": 4915,
            "swap_total_mb": 15348,
            "swap_cached_mb": 1,
            "cpu_load_pct": (3,),
            "cpu_freq_mhz": (729,),
            "emc_load_pct": 1,
            "emc_freq_mhz": 2133,
            "gr3d_load_pct": 0,
            "gr3d_freq_mhz": (305,),
            "temps_c": {"cpu": 53.062},
            "rails_mw": {"VDD_IN": (3205, 3205)},
        },
    ),
    "L4T 38, without a GPU load": (
        L4T_38,
        {
            "ram_used_mb": 3429,
            "ram_total_mb": 125773,
            "lfb_blocks": 12,
            "cpu_load_pct": (0,),
            "cpu_freq_mhz": (2601,),
            "emc_load_pct": 0,
            "emc_freq_mhz": 2750,
            "gr3d_freq_mhz": (494, 494, 494),
            "temps_c": {"tj": 35.875},
            "rails_mw": {"VDD_GPU": (3132, 1), "VDD_CPU_SOC_MSS": (9397, 1), "VIN_SYS_5V0": (5680, 1)},
        },
    ),
    "L4T 39.2, with three values": (
        L4T_39,
        {
            "timestamp": datetime(2026, 7, 2, 13, 45, 44),
            "ram_used_mb": 36529,
            "ram_total_mb": 125749,
            "lfb_blocks": 12,
            "cpu_load_pct": (2,),
            "cpu_freq_mhz": (972,),
            "temps_c": {"cpu": 60.406},
            "rails_mw": {
                "VDD_GPU": (37528, 1, 37528),
                "VDD_CPU_SOC_MSS": (18961, 1, 18961),
                "VIN_SYS_5V0": (18331, 1, 18331),
                "VIN": (87426, 43713, 90000),
            },
        },
    ),
    "a line whose head is cut off": (
        HEAD_CUT_OFF,
        {
            "emc_load_pct": 2,
            "emc_freq_mhz": 1331,
            "gr3d_load_pct": 1,
            "gr3d_freq_mhz": (114,),
            "temps_c": {"AUX": 36.0},
            "rails_mw": {"VDD_IN": (467, 400)},
        },
    ),
}
