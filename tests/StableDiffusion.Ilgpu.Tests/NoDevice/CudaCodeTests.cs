using System.Reflection;
using ILGPU.Runtime.Cuda;
using StableDiffusion.Ilgpu.Benchmarks.Ptx;
using StableDiffusion.Ilgpu.Kernels.Attention;
using StableDiffusion.Ilgpu.Kernels.Gemm;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;
using StableDiffusion.Ilgpu.Tests.Ptx;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>What an NVIDIA GPU gets for the models: every kernel that their launches take, compiled to PTX without one.</summary>
public sealed class CudaCodeTests
{
    [Theory]
    [InlineData("sm_61")]
    [InlineData("sm_75")]
    [InlineData("sm_80")]
    [InlineData("sm_86")]
    [InlineData("sm_90")]
    public void Every_kernel_of_the_models_keeps_the_rules(string architecture)
    {
        using var code = new CudaCode(architecture);
        CudaModels.Compile(code);
        foreach (var kernel in code.Kernels)
        {
            var loop = kernel.MainLoop is { } main ? $", {main.Counted} tensor instructions among the main loop's {main.Length}" : "";
            TestContext.Current.TestOutputHelper?.WriteLine($"{architecture} {kernel.Name}: {kernel.SharedBytes} bytes of shared memory{loop}");
        }

        Assert.Empty(code.Kernels.SelectMany(k => k.Problems().Select(p => $"{k.Name}: {p}")));
        Assert.True(code.Kernels.Count >= 19, $"only {code.Kernels.Count} kernels");
        Assert.Equal(code.HasWarpgroups, code.Kernels.Any(k => k.Name.EndsWith(" spans", StringComparison.Ordinal)));
    }

    [Fact]
    public void Each_launch_of_a_step_is_one_kernel_or_more()
    {
        using var code = new CudaCode("sm_80");
        var launches = code.Launches(CudaModels.UNet("sd15", 512, 1), 108);
        Assert.True(launches.Count > 400, $"{launches.Count} launches");
        Assert.All(launches, l => Assert.True(l.Groups > 0 && l.GroupSize > 0, $"{l.Kernel.Name} of {l.Asked.Value}: no groups"));
    }

    /// <summary>What is left: the first and the last convolutions, with four or three channels.</summary>
    [Theory]
    [InlineData("sm_80", 108)]
    [InlineData("sm_90", 132)]
    public void Models_run_on_tensor_cores(string architecture, int multiprocessors)
    {
        using var code = new CudaCode(architecture);
        foreach (var (what, graph) in new[]
        {
            ("SD 1.5, 512x512", CudaModels.UNet("sd15", 512, 1)), ("SD 2.1, 768x768", CudaModels.UNet("sd21", 768, 1)),
            ("decoder, 512x512", CudaModels.Decoder("sd15", 512)),
        })
        {
            var share = CudaLaunch.TensorShare(code.Launches(graph, multiprocessors));
            TestContext.Current.TestOutputHelper?.WriteLine($"{architecture}, {what}: {share:0.00 %} of the operations");
            Assert.True(share > 0.99, $"{what}: only {share:0.00 %}");
        }
    }

    [Fact]
    public void A_kernel_that_breaks_a_rule_is_named_with_it()
    {
        const string Text = """
            .visible .entry Kernel() {
            .reg .f64 d;
            .local .align 4 .b8 depot[16];
            .shared .align 16 .b8 tile[65536];
            mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {c0, c1, c2, c3}, {a0, a1, a2, a3}, {b0, b1}, {c0, c1, c2, c3};
            }
            """;
        var problems = new PtxKernel(CudaArchitecture.SM_86, "bad", 128, 1, 48 * 1024, Text).Problems().ToArray();
        Assert.Equal(6, problems.Length);
        foreach (var part in new[] { ".local", ".f64", "114688 bytes", "no cp.async", "no ldmatrix", "in no loop" })
        {
            Assert.Contains(problems, p => p.Contains(part, StringComparison.Ordinal));
        }

        Assert.Contains("at most 82944, so that 2 groups fit", SharedMemoryOf(CudaArchitecture.SM_80, 83008), StringComparison.Ordinal);
        Assert.Null(SharedMemoryOf(CudaArchitecture.SM_80, 82944));
        Assert.Contains("at most 50176, so that 2 groups fit", SharedMemoryOf(CudaArchitecture.SM_89, 50192), StringComparison.Ordinal);

        static string? SharedMemoryOf(CudaArchitecture architecture, int bytes) =>
            new PtxKernel(architecture, "large", 128, 2, bytes, "").Problems().SingleOrDefault();
    }

    [Fact]
    public void Kernels_with_wgmma_get_the_target_that_has_it()
    {
        const string Head = ".version 7.8\n.target sm_80\n.address_size 64\n\n.visible .entry run()\n{\n";
        Assert.True(PtxSource.CanComplete, "this version of ILGPU keeps a kernel's PTX elsewhere: Hopper goes without wgmma");
        Assert.Equal(
            ".version 8.0\n.target sm_90a\n.address_size 64\n\n.visible .entry run()\n{\nwgmma.fence.sync.aligned;\n}",
            PtxSource.Complete(Head + "wgmma.fence.sync.aligned;\n}"));
        Assert.StartsWith(".version 8.8\n", PtxSource.Complete(Head.Replace("7.8", "8.8", StringComparison.Ordinal) + "wgmma.fence.sync.aligned;\n}"), StringComparison.Ordinal);
        Assert.Equal(Head + "ret;\n}", PtxSource.Complete(Head + "ret;\n}"));
    }

    [Fact]
    public void Before_compute_capability_8_0_older_instructions_do_the_same()
    {
        const string Head = ".version 7.8\n.target sm_75\n.address_size 64\n";
        Assert.Equal(
            Head + """
            { .reg .b32 tc<4>; .reg .pred tcReads; setp.ne.b32 tcReads, n, 0; mov.b32 tc0, 0; mov.b32 tc1, 0; mov.b32 tc2, 0; mov.b32 tc3, 0; @tcReads ld.global.v4.b32 {tc0,tc1,tc2,tc3}, [from]; st.shared.v4.b32 [to+2048], {tc0,tc1,tc2,tc3}; } add.s32 u, u, v;
             bar.sync 0;
            mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {s0,s1,s2,s3}, {a0,a1}, {b0}, {z,z,z,z}; mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {s0,s1,s2,s3}, {a2,a3}, {b1}, {s0,s1,s2,s3};
            { .reg .b16 tcLow, tcHigh; cvt.rn.f16.f32 tcHigh, s1; cvt.rn.f16.f32 tcLow, s0; mov.b32 w0, {tcLow, tcHigh}; }
            """,
            PtxSource.Complete(Head + """
                cp.async.cg.shared.global.L2::128B [to+2048], [from], 16, n; add.s32 u, u, v;
                cp.async.wait_group 2; bar.sync 0;
                mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {s0,s1,s2,s3}, {a0,a1,a2,a3}, {b0,b1}, {z,z,z,z};
                cvt.rn.f16x2.f32 w0, s1, s0;
                """));
    }

    /// <summary>
    /// The driver keeps what it assembled by the text. A quarter of the kernels are not among these: ILGPU orders some of their statements by what it compiled
    /// before.
    /// </summary>
    [Fact]
    public void Most_kernels_texts_are_the_same_whatever_was_compiled_before()
    {
        MethodInfo[] kernels =
        [
            ((Action<AttentionArguments<ushort>>)WarpgroupAttentionKernel<Head40>.Run).Method,
            ((Action<AttentionArguments<ushort>>)DeepAttentionKernel.Run).Method,
            ((Action<TensorGemmArguments>)TensorSplitKernel<ResidualEnd>.Run).Method,
        ];
        Assert.Equal(Compile(kernels), Compile([.. kernels.Reverse()]).Reverse());

        static string[] Compile(MethodInfo[] inOrder)
        {
            using var compiler = new PtxCompiler("SM_90");
            return [.. inOrder.Select(k => compiler.Compile(k))];
        }
    }

    [Fact]
    public void Names_of_PTX_are_numbered_by_appearance() => Assert.Equal(
        ".target sm_80\n.address_size 64\n.visible .entry Kernel_Run(.param .b32 _t_1) { mov.f32 %f1, 0f3F800000; L_1: @%p1 bra L_2; bra.uni L_1; L_2: ret; }",
        PtxSource.Complete(
            ".target sm_80\n.address_size 64\n.visible .entry Kernel_Run(.param .b32 _t_4711) { mov.f32 %f1, 0f3F800000; L_81512: @%p1 bra L_8153; bra.uni L_81512; L_8153: ret; }"));
}
