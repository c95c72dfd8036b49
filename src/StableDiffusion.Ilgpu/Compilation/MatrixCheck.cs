using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Kernels.Gemm;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;

namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>
/// Whether a device's matrix units or tensor cores give what they should. Which lane has which values is the vendors' to say, for every kind of unit and every driver, and
/// what a driver compiles is the driver's: nobody has to believe it who can multiply two matrices and look.
/// </summary>
internal static class MatrixCheck
{
    private const int Rows = 70;

    /// <summary>So many that the last 16 are not all there.</summary>
    private const int Channels = 72;

    private const int Columns = Tile.Columns;

    /// <summary>Chooses a contraction's tile.</summary>
    public delegate void Cut(ref GemmArguments<ushort> contraction);

    /// <param name="device">The device.</param>
    /// <param name="kernels">Its kernels.</param>
    /// <param name="cuts">What is tried.</param>
    /// <returns>False where a product is wrong, and where the driver rejects a kernel or its launch.</returns>
    /// <exception cref="StableDiffusionException">The device has not even the memory for this.</exception>
    public static bool Multiplies(DeviceSession device, KernelSet<ushort> kernels, params IEnumerable<Cut> cuts)
    {
        try
        {
            return cuts.All(cut =>
            {
                var product = Product;
                cut(ref product);
                return Multiplies(device, kernels, product);
            });
        }
        catch (StableDiffusionException e) when (!e.IsOutOfMemory)
        {
            return false;
        }
        catch (AcceleratorException)
        {
            return false;
        }
    }

    private static GemmArguments<ushort> Product => new()
    {
        Target = Rows * Channels,
        SourcePitch = Channels,
        TargetPitch = Columns,
        OutputWidth = Rows,
        OutputPixels = Rows,
        Rows = Rows,
        SourceHeight = 1,
        SourceWidth = Rows,
        Height = 1,
        Width = Rows,
        Channels = Channels,
        Kernel = 1,
        Stride = 1,
        Depth = Channels,
        Columns = Columns,
        Panels = 1,
    };

    private static bool Multiplies(DeviceSession device, KernelSet<ushort> kernels, GemmArguments<ushort> arguments)
    {
        var launcher = kernels.GemmFor(arguments);

        // Small whole numbers: every sum is exact, in fp16 too.
        var random = new Random(1);
        int[] source = [.. Enumerable.Range(0, Rows * Channels).Select(_ => random.Next(-4, 5))];
        int[] weights = [.. Enumerable.Range(0, Channels * Columns).Select(_ => random.Next(-4, 5))];
        using var arena = device.Upload<ushort>([.. source.Select(Bits), .. new ushort[Rows * Columns]]);
        using var panel = device.Upload<ushort>([.. weights.Select(Bits)]);
        using var bias = device.Upload<float>(new float[Columns]);
        using var scratch = device.Allocate<float>(1);
        using var counter = device.Upload<int>([0]);
        var results = new ushort[Rows * Columns];
        launcher(device.Stream, arguments with { Arena = arena.View, Weights = panel.View, Bias = bias.View }, scratch.View, counter.View);
        arena.View.SubView(arguments.Target, results.Length).CopyToCPU(device.Stream, results);
        device.Stream.Synchronize();
        return results.Select((bits, i) => (double)BitConverter.UInt16BitsToHalf(bits) == Sum(i / Columns, i % Columns)).All(right => right);

        int Sum(int row, int column) => Enumerable.Range(0, Channels).Sum(k => source[(row * Channels) + k] * weights[(k * Columns) + column]);
    }

    private static ushort Bits(int value) => BitConverter.HalfToUInt16Bits((System.Half)value);
}
