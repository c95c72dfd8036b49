using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Kernels.Attention;
using StableDiffusion.Ilgpu.Kernels.Gemm;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;

namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>
/// Whether a device's matrix units or tensor cores give what they should. Which lane has which values is the vendors' to say, for every kind of unit and every driver, and
/// what a driver compiles is the driver's: nobody has to believe it who can multiply two matrices, or attend to a few keys, and look.
/// </summary>
internal static class MatrixCheck
{
    private const int Rows = 70;

    /// <summary>So many that the last 16 are not all there.</summary>
    private const int Channels = 72;

    private const int Columns = Tile.Columns;

    /// <summary>The size of Stable Diffusion 1.x's first heads.</summary>
    private const int HeadSize = 40;

    /// <summary>More than the largest group takes; the last group has few.</summary>
    private const int Queries = 130;

    /// <summary>Several tiles of any kernel, the last of them not whole.</summary>
    private const int Keys = 300;

    /// <summary>Chooses a contraction's tile.</summary>
    public delegate void Cut(ref GemmArguments<ushort> contraction);

    /// <param name="device">The device.</param>
    /// <param name="kernels">Its kernels.</param>
    /// <param name="cuts">The contractions that are tried; so is an attention.</param>
    /// <returns>False where a result is wrong, and where the driver rejects a kernel or its launch.</returns>
    /// <exception cref="StableDiffusionException">The device has not even the memory for this.</exception>
    public static bool Passes(DeviceSession device, KernelSet<ushort> kernels, params IEnumerable<Cut> cuts)
    {
        try
        {
            return cuts.All(cut =>
            {
                var product = Product;
                cut(ref product);
                return Multiplies(device, kernels, product);
            }) && Attends(device, kernels);
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

    /// <summary>
    /// Logits are whole numbers and the softmax is to base 2, so that weights and sums are exact, and what is left is the quotient, in fp16, and how near to a power
    /// of two exponentials of whole numbers come. All heads have the same values, and there are so many that a large device takes the kernel that it takes for large pictures.
    /// </summary>
    private static bool Attends(DeviceSession device, KernelSet<ushort> kernels)
    {
        var heads = Math.Max(1, device.Multiprocessors);
        var pitch = heads * HeadSize;
        var arguments = new AttentionArguments<ushort>
        {
            Key = Queries * pitch,
            Value = (Queries + Keys) * pitch,
            Target = (Queries + (2 * Keys)) * pitch,
            QueryPitch = pitch,
            KeyPitch = pitch,
            ValuePitch = pitch,
            TargetPitch = pitch,
            Items = 1,
            Heads = heads,
            HeadSize = HeadSize,
            Queries = Queries,
            Keys = Keys,
            Scale = 1,
        };
        var launcher = kernels.AttentionFor(arguments);

        // Few channels of a query count, so that many keys do.
        var random = new Random(2);
        int[] query = [.. Enumerable.Range(0, Queries * HeadSize).Select(_ => random.Next(4) == 0 ? random.Next(-1, 2) : 0)];
        int[] key = [.. Enumerable.Range(0, Keys * HeadSize).Select(_ => random.Next(-1, 2))];
        int[] value = [.. Enumerable.Range(0, Keys * HeadSize).Select(_ => random.Next(-4, 5))];
        using var arena = device.Upload<ushort>([.. EachHead(query), .. EachHead(key), .. EachHead(value), .. new ushort[Queries * pitch]]);
        using var scratch = device.Allocate<float>(1);
        using var counter = device.Upload<int>([0]);
        var results = new ushort[Queries * pitch];
        launcher(device.Stream, arguments with { Arena = arena.View }, scratch.View, counter.View);
        arena.View.SubView(arguments.Target, results.Length).CopyToCPU(device.Stream, results);
        device.Stream.Synchronize();
        var expected = Enumerable.Range(0, Queries).SelectMany(Outputs).ToArray();
        return results.Select((bits, i) => IsNear((double)BitConverter.UInt16BitsToHalf(bits), expected[(i / pitch * HeadSize) + (i % HeadSize)])).All(near => near);

        IEnumerable<ushort> EachHead(int[] rows) => rows.Chunk(HeadSize).SelectMany(row => Enumerable.Repeat(row.Select(Bits), heads).SelectMany(head => head));

        double[] Outputs(int row)
        {
            var weights = Enumerable.Range(0, Keys).Select(k => Math.Pow(2, Enumerable.Range(0, HeadSize).Sum(i => query[(row * HeadSize) + i] * key[(k * HeadSize) + i]))).ToArray();
            var total = weights.Sum();
            return [.. Enumerable.Range(0, HeadSize).Select(i => Enumerable.Range(0, Keys).Sum(k => weights[k] * value[(k * HeadSize) + i]) / total)];
        }
    }

    /// <summary>Within two roundings of fp16, and what a device that takes small numbers for zeros may lose.</summary>
    private static bool IsNear(double result, double expected) => Math.Abs(result - expected) <= (Math.Abs(expected) / 1024) + (1.0 / 8192);

    private static ushort Bits(int value) => BitConverter.HalfToUInt16Bits((System.Half)value);
}
