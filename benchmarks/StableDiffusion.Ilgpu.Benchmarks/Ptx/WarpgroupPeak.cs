using System.Runtime.CompilerServices;
using System.Text;
using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

namespace StableDiffusion.Ilgpu.Benchmarks.Ptx;

/// <summary>
/// The kernel that shows what Hopper's tensor cores can do: <c>wgmma</c> of 64 x 256 sums, both operands in shared memory, the same ones over and over.
/// </summary>
internal static class WarpgroupPeak
{
    /// <summary>Of a warpgroup.</summary>
    public const int Threads = 128;

    /// <summary>Of a warpgroup in a round: four instructions of 64 x 256 sums of 16 products each.</summary>
    public const double Flops = Instructions * 2.0 * Rows * Columns * 16;

    private const int Instructions = 4;

    private const int Rows = 64;

    private const int Columns = 256;

    /// <summary>Of an operand's row: four instructions' depth. Both lie as a contraction's source rows do.</summary>
    private const int RowBytes = WarpgroupMultiplyText.BlockDepth * sizeof(ushort);

    public static Action<AcceleratorStream, KernelConfig, TensorPeak.Arguments> Load(IKernelLoader loader) =>
        loader.Load<TensorPeak.Arguments>(PtxKernel.PeakName, Run, new KernelSpecialization(TensorPeak.GroupSize, 1));

    [ModuleInitializer]
    internal static void Register() => PtxCode.Bind(typeof(WarpgroupPeak).GetMethod(nameof(Multiply))!, Text);

    /// <summary>Stands for the text.</summary>
    public static void Multiply(int text, int rounds, long target, uint shared) => throw new NotSupportedException();

    private static void Run(TensorPeak.Arguments arguments)
    {
        // Both operands, and what aligning them takes: values of 2^-8, so that no sum overflows.
        const int Vectors = (((Rows + Columns) * RowBytes) + TensorTileShape.SwizzleAlignment) / 16;
        var shared = SharedMemory.Allocate<Float4>(Vectors);
        var value = Interop.IntAsFloat(0x1c001c00u);
        for (var i = Group.IdxX; i < Vectors; i += TensorPeak.GroupSize)
        {
            shared[i] = Float4.Fill(value);
        }

        Multiply(0, arguments.Rounds, arguments.Target, TensorTileShape.Align((uint)PtxCode.AddressOf(ref shared[0]), TensorTileShape.SwizzleAlignment));
    }

    private static string Text()
    {
        var (sums, layout) = (PtxWriter.Vector("c", 0, Columns / 2), WarpgroupMultiplyText.SourceLayout);
        var text = new StringBuilder($$"""
            {
            .reg .f32 c<{{Columns / 2}}>;
            .reg .b64 left, right, a, b;
            .reg .b32 t, n;
            .reg .pred adds, more;
            fence.proxy.async.shared::cta;
            bar.sync 0;
            shr.u32 t, %2, 4; cvt.u64.u32 left, t; add.s64 right, left, {{Rows * RowBytes / 16}};
            or.b64 left, left, {{layout}}; or.b64 right, right, {{layout}};
            setp.eq.s32 adds, 0, 0;
            mov.s32 n, %0;

            """);
        for (var i = 0; i < Columns / 2; i++)
        {
            text.AppendLine($"mov.f32 c{i}, 0f00000000;");
        }

        text.AppendLine("MORE:").AppendLine("wgmma.fence.sync.aligned;");
        for (var i = 0; i < Instructions; i++)
        {
            text.AppendLine($"add.s64 a, left, {i * 2}; add.s64 b, right, {i * 2};");
            text.AppendLine($"wgmma.mma_async.sync.aligned.m64n{Columns}k16.f32.f16.f16 {sums}, a, b, adds, 1, 1, 0, 0;");
        }

        text.AppendLine("wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 1;");
        text.AppendLine("sub.s32 n, n, 1;").AppendLine("setp.gt.s32 more, n, 0;").AppendLine("@more bra MORE;").AppendLine("wgmma.wait_group.sync.aligned 0;");
        for (var i = 1; i < Columns / 2; i++)
        {
            text.AppendLine($"add.f32 c0, c0, c{i};");
        }

        // All write one value, the same.
        return text.AppendLine("st.global.f32 [%1], c0;").Append('}').ToString();
    }
}
