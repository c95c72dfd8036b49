namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>PTX of a contraction's main loop, and of what lies around it: what <see cref="TensorMultiply{TTile, TLoop}"/> stands for.</summary>
/// <param name="tile">The tile.</param>
/// <param name="threads">Of a group.</param>
internal abstract class TensorText(TensorTileShape tile, int threads)
{
    /// <summary>Of a panel's row.</summary>
    protected const int PanelRowBytes = Tile.Columns * sizeof(ushort);

    protected TensorTileShape Shape => tile;

    protected int GroupThreads => threads;

    /// <summary>fp32 sums of each thread.</summary>
    protected int Sums => tile.Rows * tile.Columns / threads;

    /// <summary>Registers that the other texts see.</summary>
    public string Begin()
    {
        var ptx = new PtxWriter();
        ptx.Line($".reg .f32 tm_sum<{Sums}>;");
        ptx.Line(".reg .b64 tm_source, tm_weights;");
        ptx.Line(".reg .b32 tm_pitch, tm_panelBytes, tm_panels, tm_channels, tm_kernel, tm_position, tm_left;");
        ptx.Line("mov.b64 tm_source, %0; mov.b64 tm_weights, %1; mov.b32 tm_pitch, %2; mov.b32 tm_panelBytes, %3; mov.b32 tm_panels, %4;");
        ptx.Line("mov.b32 tm_channels, %5; mov.b32 tm_kernel, %6; mov.b32 tm_position, %7; mov.b32 tm_left, %8;");
        return ptx.ToString();
    }

    /// <summary>Multiplies all blocks, and leaves their sums in <c>tm_sum</c>.</summary>
    public abstract string Run();

    /// <summary>Writes a pass of the tile's rows of sums to shared memory.</summary>
    public abstract string StoreSums();

    protected void ZeroSums(PtxWriter ptx)
    {
        for (var i = 0; i < Sums; i++)
        {
            ptx.Line($"mov.f32 tm_sum{i}, 0f00000000;");
        }
    }
}
