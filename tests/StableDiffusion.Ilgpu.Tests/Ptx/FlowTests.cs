using Xunit;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>Branches, barriers and what a warp's lanes do together.</summary>
public sealed class FlowTests
{
    [Fact]
    public void Lanes_part_in_a_loop_and_meet_again()
    {
        // Collatz: each lane needs a number of rounds of its own; the sum over the lanes needs all of them.
        const string Body =
            """
            .reg .b32 n,rounds,r,other; .reg .pred p;
            add.s32 n,tid,1; mov.b32 rounds,0;
            { LOOP: setp.eq.s32 p,n,1; @p bra END;
              and.b32 r,n,1; setp.eq.s32 p,r,0; @p bra EVEN;
              mad.lo.s32 n,n,3,1; bra.uni NEXT;
              EVEN: shr.u32 n,n,1;
              NEXT: add.s32 rounds,rounds,1; bra LOOP;
              END: }
            st.global.b32 [at],rounds;
            { .reg .b32 d<5>;
              shfl.sync.bfly.b32 other,rounds,1,31,-1; add.s32 rounds,rounds,other;
              shfl.sync.bfly.b32 other,rounds,2,31,-1; add.s32 rounds,rounds,other;
              shfl.sync.bfly.b32 other,rounds,4,31,-1; add.s32 rounds,rounds,other;
              shfl.sync.bfly.b32 other,rounds,8,31,-1; add.s32 rounds,rounds,other;
              shfl.sync.bfly.b32 other,rounds,16,31,0xffffffff; add.s32 rounds,rounds,other; }
            st.global.b32 [at+128],rounds;
            """;
        var words = new uint[64];
        PtxText.Run(Body, words);
        var expected = Enumerable.Range(1, 32).Select(n =>
        {
            var rounds = 0u;
            for (; n != 1; rounds++)
            {
                n = n % 2 == 0 ? n / 2 : (3 * n) + 1;
            }

            return rounds;
        }).ToArray();
        Assert.Equal(expected, words[..32]);
        Assert.Equal(Enumerable.Repeat((uint)expected.Sum(v => v), 32), words[32..]);
    }

    /// <summary>As ILGPU orders blocks: what only some lanes do stands behind the barrier that all come to.</summary>
    [Fact]
    public void Lanes_wait_at_a_barrier_for_those_that_run_later_code_first()
    {
        const string Body =
            """
            .shared .align 4 .b32 value; .reg .pred p; .reg .b32 v;
            setp.eq.s32 p,tid,3; @p bra SOME;
            MEET: bar.sync 0;
            ld.shared.b32 v,[value]; st.global.b32 [at],v; bra DONE;
            SOME: st.shared.b32 [value],77; bra MEET;
            DONE:
            """;
        var words = new uint[64];
        PtxText.Run(Body, words, threads: 64);
        Assert.All(words, v => Assert.Equal(77u, v));
    }

    [Fact]
    public void Branches_by_table()
    {
        const string Body =
            """
            .reg .b32 r,v; .reg .pred p;
            and.b32 r,tid,3; mov.b32 v,9; setp.ge.s32 p,tid,16; @p bra END;
            TABLE: .branchtargets A, B, A, C;
            brx.idx r,TABLE;
            A: mov.b32 v,1; bra END;
            B: mov.b32 v,2; bra END;
            C: mov.b32 v,3;
            END: st.global.b32 [at],v;
            """;
        var words = new uint[32];
        PtxText.Run(Body, words);
        Assert.Equal(Enumerable.Range(0, 32).Select(i => i >= 16 ? 9u : (i & 3) == 1 ? 2u : (i & 3) == 3 ? 3u : 1u), words);
    }

    [Fact]
    public void Blocks_and_threads_have_their_numbers()
    {
        const string Body =
            """
            .reg .b32 i,n,v; .reg .b64 w;
            mov.u32 i,%ctaid.x; mov.u32 n,%ntid.x; mad.lo.s32 i,i,n,tid; mul.wide.u32 w,i,4; add.s64 w,w,base;
            mov.u32 v,%laneid; mad.lo.s32 v,v,100,i; st.global.b32 [w],v;
            """;
        var words = new uint[3 * 48];
        PtxText.Run(Body, words, threads: 48, blocks: 3);
        Assert.Equal(Enumerable.Range(0, 3 * 48).Select(i => (uint)((i % 48 % 32 * 100) + i)), words);
    }

    [Theory]
    [InlineData("shfl.sync.up.b32 v,tid,3,0,-1;", -3)]
    [InlineData("shfl.sync.down.b32 v,tid,3,31,-1;", 3)]
    [InlineData("shfl.sync.idx.b32 v|p,tid,5,31,-1;", 99)]
    public void Shuffles(string instruction, int step)
    {
        var words = new uint[32];
        PtxText.Run($".reg .b32 v; .reg .pred p; {instruction} st.global.b32 [at],v;", words);
        Assert.Equal(Enumerable.Range(0, 32).Select(i => step == 99 ? 5u : (uint)(i + step is >= 0 and < 32 ? i + step : i)), words);
    }

    [Fact]
    public void Votes()
    {
        var words = new uint[64];
        PtxText.Run(".reg .b32 v; .reg .pred p,q; setp.lt.u32 p,tid,5; vote.sync.ballot.b32 v,p,-1; st.global.b32 [at],v; "
            + "vote.sync.any.pred q,p,-1; vote.sync.all.pred p,p,-1; selp.b32 v,1,0,q; @p add.s32 v,v,2; st.global.b32 [at+128],v;", words);
        Assert.All(words[..32], v => Assert.Equal(31u, v));
        Assert.All(words[32..], v => Assert.Equal(1u, v));
    }

    [Theory]
    [InlineData("setp.lt.u32 p,tid,9; @p bra A; bar.sync 0; bra B; A: bar.sync 0; B:", "diverge")]
    [InlineData("setp.lt.u32 p,tid,9; @p bar.sync 0;", "some lanes skip the barrier")]
    [InlineData("setp.lt.u32 p,tid,9; @p ret; mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {v,v,v,v},{tid,tid,tid,tid},{tid,tid},{tid,tid,tid,tid};", "not all 32 lanes")]
    [InlineData("mov.u32 v,sh; setp.lt.u32 p,tid,9; @p ldmatrix.sync.aligned.m8n8.x1.shared.b16 {v},[v];", "not all 32 lanes")]
    [InlineData("setp.lt.u32 p,v,9; @p bra A; A:", "the predicate comes from a register that was not written")]
    [InlineData("setp.lt.u32 p,tid,9; @p mov.b32 v,1; add.s32 v,v,1; st.global.b32 [at],v;", "the stored value comes from a register that was not written, in lane 9")]
    [InlineData("ld.global.b32 v,[w];", "the address comes from a register that was not written")]
    [InlineData("ld.global.b32 v,[at+128];", "outside of the buffers")]
    [InlineData("ld.global.b32 v,[base+-4];", "outside of the buffers")]
    [InlineData("st.global.b32 [base+2],tid;", "not aligned to 4 bytes")]
    [InlineData("ld.global.v4.b32 {v,v,v,v},[base+8];", "not aligned to 16 bytes")]
    [InlineData("st.shared.b32 [sh+4092],tid; st.shared.b32 [sh+4096],tid;", "outside of the 4096 bytes")]
    [InlineData("ld.shared.b32 v,[sh+-4];", "outside of the 4096 bytes")]
    [InlineData("ld.shared.b32 v,[sh+2];", "not aligned to 4 bytes")]
    [InlineData("ld.param.b32 v,[words+8];", "of parameters")]
    [InlineData("brx.idx tid,T; T: .branchtargets A; A:", "branch 1 of 1")]
    public void Errors_name_the_line(string body, string message)
    {
        var e = Assert.Throws<PtxException>(() =>
            PtxText.Run($".reg .pred p; .reg .b32 v; .reg .b64 w; .shared .align 16 .b8 sh[4096];\n{body}", new uint[32]));
        Assert.Contains(message, e.Message, StringComparison.Ordinal);
        Assert.Matches(@"kernel, block \(0, 0, 0\), warp 0: line 1\d: ", e.Message);
    }

    [Theory]
    [InlineData("st.shared.b32 [s],tid; ld.shared.b32 v,[other];", "is written without a barrier after warp 0 read it")]
    [InlineData("bar.sync 0; ld.shared.b32 v,[other]; st.shared.b32 [s],tid;", "is read without a barrier after warp 0 wrote it")]
    [InlineData("st.shared.b32 [sh],tid;", "is written without a barrier after warp 0 wrote it")]
    public void Races_between_warps_are_errors(string body, string message)
    {
        const string Setup =
            ".shared .align 16 .b8 sh[256]; .reg .b32 s,other,v; shl.b32 s,tid,2; mov.u32 v,sh; xor.b32 other,s,128; add.s32 s,s,v; add.s32 other,other,v;\n";
        Assert.Contains(message, Assert.Throws<PtxException>(() => PtxText.Run(Setup + body, new uint[1], threads: 64)).Message, StringComparison.Ordinal);
        PtxText.Run(Setup + "st.shared.b32 [s],tid; bar.sync 0; ld.shared.b32 v,[other]; bar.sync 0; st.shared.b32 [s],v;", new uint[1], threads: 64);
    }

    /// <summary>Every third lane: of 32-bit and of 64-bit registers, sums, products, comparisons and copies.</summary>
    [Fact]
    public void Lanes_that_take_no_part_keep_their_registers()
    {
        var words = new uint[64];
        PtxText.Run(
            """
            .reg .b32 v,r,u; .reg .b64 w,x; .reg .pred p,q;
            rem.u32 r,tid,3; setp.eq.u32 p,r,0; setp.lt.u32 q,tid,0;
            mov.b32 v,7; cvt.u64.u32 w,tid;
            @p mov.b32 v,tid; @p mad.lo.s32 v,v,2,1; @p add.s64 w,w,100; @p setp.ge.u32 q,tid,15;
            @q add.s32 v,v,1000;
            cvt.u32.u64 u,w; add.s64 x,at,128; st.global.b32 [at],v; st.global.b32 [x],u;
            """, words);
        for (var lane = 0u; lane < 32; lane++)
        {
            var takesPart = lane % 3 == 0;
            Assert.Equal(takesPart ? (2 * lane) + 1 + (lane >= 15 ? 1000u : 0) : 7, words[lane]);
            Assert.Equal(lane + (takesPart ? 100u : 0), words[32 + lane]);
        }
    }

    /// <summary>Each thread has a word of its own, or reads one that another block writes, or writes one that another block writes or reads.</summary>
    [Theory]
    [InlineData("st.global.b32 [own],tid;", null)]
    [InlineData("ld.global.b32 v,[base]; st.global.b32 [own+4],v;", null)]
    [InlineData("st.global.b16 [half],low;", null)]
    [InlineData("st.global.b32 [base],tid;", "block 0 writes|block 1 writes")]
    [InlineData("st.global.b32 [own],tid; ld.global.b32 v,[base+4];", "block 0 reads|another block reads")]
    public void Blocks_must_not_depend_on_each_other(string body, string? message)
    {
        void Run() => PtxText.Run(
            ".reg .b32 v,c; .reg .b64 own,half; .reg .b16 low; cvt.u16.u32 low,tid; mov.u32 c,%ctaid.x; mul.wide.u32 own,c,4; add.s64 own,own,base; mul.wide.u32 half,c,2; add.s64 half,half,base; "
            + body, new uint[4], threads: 1, blocks: 2);
        if (message is null)
        {
            Run();
        }
        else
        {
            Assert.Contains(message.Split('|'), Assert.Throws<PtxException>(Run).Message.Contains);
        }
    }
}
