using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Norms;

/// <summary>Layer norm for devices whose groups have many work-items: one group for each row, in two passes for the moments.</summary>
internal static class GpuLayerNormKernel<T, TFormat>
    where T : unmanaged
    where TFormat : struct, IFormat<T>
{
    private const int WorkItems = 64;

    public static KernelConfig Shape(LayerNormArguments<T> a) => new(a.Rows, WorkItems);

    public static void Run(LayerNormArguments<T> a)
    {
        var shared = SharedMemory.Allocate<float>(WorkItems);
        var source = a.Source + ((long)Grid.IdxX * a.SourcePitch);
        var target = a.Target + ((long)Grid.IdxX * a.TargetPitch);
        var sum = 0f;
        for (var i = Group.IdxX; i < a.Channels; i += WorkItems)
        {
            sum += default(TFormat).Load(a.Arena, source + i);
        }

        var mean = GroupReduction.Sum(shared, WorkItems, sum) / a.Channels;
        var squares = 0f;
        for (var i = Group.IdxX; i < a.Channels; i += WorkItems)
        {
            var d = default(TFormat).Load(a.Arena, source + i) - mean;
            squares += d * d;
        }

        var factor = 1f / MathF.Sqrt((GroupReduction.Sum(shared, WorkItems, squares) / a.Channels) + a.Epsilon);
        for (var i = Group.IdxX; i < a.Channels; i += WorkItems)
        {
            var value = (default(TFormat).Load(a.Arena, source + i) - mean) * factor;
            default(TFormat).Store(a.Arena, target + i, (value * a.Weights[i]) + a.Biases[i]);
        }
    }
}
