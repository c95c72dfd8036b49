using StableDiffusion.Ilgpu.Benchmarks;
using StableDiffusion.Ilgpu.Benchmarks.Ptx;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Instructions and loops of what compilers write.</summary>
public sealed class CodeListingTests
{
    [Fact]
    public void Loops_of_PTX_are_found_with_labels_that_come_again()
    {
        const string Text = """
            .visible .entry Kernel(
                .param .b32 p
            ) {
                .reg .pred %p<3>;
                { // MORE: in a comment is no label
                MORE: add.s32 n, n, 1; @more bra MORE;
                }
            L_1:
                {
                .reg .pred more;
                MORE:
                mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {c0, c1, c2, c3}, {x, x, x, x}, {x, x}, {c0, c1, c2, c3};
                sub.s32 n, n, 1; setp.gt.s32 more, n, 0;
                @more bra MORE;
                }
                @%p1 bra L_2;
                bra.uni L_1;
            L_2:
                ret;
            }
            """;
        var listing = CodeListing.FromPtx(Text);
        Assert.Equal(9, listing.Instructions.Count);
        Assert.Equal(new CodeLoop(4, 1), listing.HottestLoop(PtxKernel.IsTensorInstruction));
        Assert.Null(listing.HottestLoop(i => i.StartsWith("ret", StringComparison.Ordinal)));
    }

    [Fact]
    public void Loops_of_NVIDIAs_machine_code_are_found()
    {
        const string Text = """
                    /*0000*/                   MOV R1, c[0x0][0x28] ;
            .L_x_1:
                    /*0010*/                   HMMA.16816.F32 R4, R8, R12, R4 ;
                    /*0020*/                   LDSM.16.M88.4 R8, [R20] ;
            .L_x_2:
                    /*0030*/                   ISETP.NE.AND P0, PT, R2, RZ, PT ;
                    /*0040*/              @P0  BRA `(.L_x_1) ;
                    /*0050*/              @!P1 BRA `(.L_x_3) ;
                    /*0060*/                   EXIT ;
            .L_x_3:
                    /*0070*/                   BRA `(.L_x_3);
            """;
        var listing = CodeListing.FromMachineCode(Text);
        Assert.Equal(8, listing.Instructions.Count);
        Assert.Equal(new CodeLoop(4, 1), listing.HottestLoop(PtxKernel.IsTensorInstruction));
    }

    [Fact]
    public void Loops_of_AMDs_machine_code_are_found()
    {
        const string Text = """
            Kernel:                                 ; @Kernel
            ; %bb.0:
            \ts_load_dwordx2 s[0:1], s[4:5], 0x0
            .LBB0_1:                                ; =>This Loop Header: Depth=1
            \tds_write_b32 v3, v1
            .LBB0_2:                                ; =>  This Inner Loop Header: Depth=2
            \tv_fmac_f32_e32 v7, v98, v90
            \tv_fmac_f32_e32 v8, v98, v91
            \ts_cbranch_scc0 .LBB0_2
            ; %bb.3:                                ;   in Loop: Header=BB0_1 Depth=1
            \ts_cbranch_vccnz .LBB0_1
            \ts_branch .LBB0_4
            .LBB0_4:
            \ts_endpgm
            \t.section .rodata
            """;
        var listing = CodeListing.FromAmd(Text.Replace("\\t", "\t", StringComparison.Ordinal));
        Assert.Equal(8, listing.Instructions.Count);
        Assert.Equal(new CodeLoop(3, 2), listing.HottestLoop(i => i.StartsWith("v_fmac", StringComparison.Ordinal)));
    }

    [Fact]
    public void Loops_of_Intels_machine_code_are_found()
    {
        const string Text = """
            L0:
            (W)     mov (8|M0)               r3.0<1>:ud    r0.0<1;1,0>:ud
            L16:
                    mad (8|M0)               r4.0<1>:f     r5.0<1;0>:f       r6.0<1;0>:f       r7.0<1>:f        {F@1}
            (W)     send.dc0 (16|M0)         r2       r21     null:0  0x0            0x021C000F           {$15} // wr:1h+0, rd:1; hword scratch block read x1
            (W&f0.0) jmpi                    L64
            L48:
            (f1.0)  while (8|M0)             L16
            L64:
                    nop
            """;
        var listing = CodeListing.FromIntel(Text);
        Assert.Equal(6, listing.Instructions.Count);
        var loop = listing.CodeOfHottestLoop(i => i.StartsWith("mad", StringComparison.Ordinal));
        Assert.Equal(4, loop.Count);
        Assert.Single(loop, i => i.Contains("scratch block", StringComparison.Ordinal));
        Assert.Empty(listing.CodeOfHottestLoop(i => i.StartsWith("nop", StringComparison.Ordinal)));
    }
}
