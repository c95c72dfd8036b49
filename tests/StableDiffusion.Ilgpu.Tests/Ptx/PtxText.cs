using System.Runtime.InteropServices;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>Runs PTX written by hand: a kernel whose one argument is the address of a buffer of words.</summary>
internal static unsafe class PtxText
{
    /// <param name="body">
    /// Finds the registers <c>base</c>, the buffer's address, <c>at</c>, that of its word with the thread's number, and <c>tid</c>.
    /// </param>
    /// <param name="words">The buffer.</param>
    public static PtxStatistics Run(string body, uint[] words, int threads = 32, int blocks = 1, int dynamicBytes = 0,
        CopyLanding landing = CopyLanding.Early, string target = "sm_80")
    {
        var memory = GC.AllocateArray<uint>(words.Length + 4, pinned: true);
        fixed (uint* pinned = memory)
        {
            // Aligned as a device's buffers are.
            var start = (uint*)(((nint)pinned + 15) & ~15);
            words.CopyTo(new Span<uint>(start, words.Length));
            var launch = new PtxLaunch
            {
                Program = PtxProgram.Parse(Kernel(body, target)),
                Grid = (blocks, 1, 1),
                Group = (threads, 1, 1),
                DynamicSharedBytes = dynamicBytes,
                Parameters = BitConverter.GetBytes((ulong)start),
                Global = new GlobalMemory([((nint)start, words.Length * sizeof(uint))]),
                Landing = landing,
            };
            var statistics = launch.Run();
            new Span<uint>(start, words.Length).CopyTo(words);
            return statistics;
        }
    }

    /// <summary>What one thread computes in d from the words a, b, c; beside it there are registers of all sizes: h0 … h3, w0 … w3, p, q.</summary>
    public static uint Compute(string instructions, uint a, uint b, uint c)
    {
        uint[] words = [a, b, c, 0];
        Run(
            $$"""
            .reg .b32 a,b,c,d,r<4>; .reg .b16 h<4>; .reg .b64 w<4>; .reg .pred p,q;
            ld.global.b32 a,[base]; ld.global.b32 b,[base+4]; ld.global.b32 c,[base+8];
            {{instructions}}
            st.global.b32 [base+12],d;
            """, words, threads: 1);
        return words[3];
    }

    public static float Compute(string instructions, float a, float b, float c) => BitConverter.UInt32BitsToSingle(
        Compute(instructions, BitConverter.SingleToUInt32Bits(a), BitConverter.SingleToUInt32Bits(b), BitConverter.SingleToUInt32Bits(c)));

    public static uint[] Words<T>(params ReadOnlySpan<T> values) where T : unmanaged => MemoryMarshal.Cast<T, uint>(values).ToArray();

    public static string Kernel(string body, string target = "sm_80") =>
        $$"""
        // A comment; with a semicolon { and a brace.
        .version 8.0
        .target {{target}}
        .address_size 64

        .extern .shared .align 16 .b8 dynamic[];

        .visible .entry kernel(
            .param .u64 words
        )
        {
            .reg .b64 base, at; .reg .b32 tid;
            ld.param.u64 base,[words]; cvta.to.global.u64 base,base;
            mov.u32 tid,%tid.x; mul.wide.u32 at,tid,4; add.s64 at,at,base;
            {{body}}
            ret;
        }
        """;
}
