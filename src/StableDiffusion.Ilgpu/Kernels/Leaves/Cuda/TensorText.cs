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

    /// <summary>Asks for the copies of the first blocks. Its registers are those of <see cref="Run"/> too.</summary>
    public abstract string Start();

    /// <summary>Multiplies all blocks, and leaves their sums in <c>tm_sum</c>.</summary>
    public abstract string Run();

    /// <summary>Writes a pass of the tile's rows of sums to shared memory.</summary>
    public abstract string StoreSums();

    /// <summary>A row's window, at a place of the table of rows: <c>first</c>, <c>y</c> and <c>x</c> become its item's first pixel and where it begins.</summary>
    protected static void ReadWindow(PtxWriter ptx, string place) => ptx.Line(
        $"ld.shared.v2.b32 {{first, y}}, [{place}]; shr.s32 x, y, 16; shl.b32 y, y, 16; shr.s32 y, y, 16;");

    /// <summary>
    /// Has each thread copy one chunk of a panel's row, or of rows so many further: <c>tm_weights</c> moves to it, and <paramref name="to"/> becomes where it goes
    /// in a panel. Overwrites <c>chunk</c>, <c>row</c>, <c>t</c> and <c>from</c>.
    /// </summary>
    protected static void PlacePanelChunk(PtxWriter ptx, string thread, string to)
    {
        ptx.Line($"and.b32 chunk, {thread}, 3; shr.u32 row, {thread}, 2; shr.u32 t, row, 1; and.b32 t, t, 3; xor.b32 t, t, chunk; shl.b32 t, t, 4;");
        ptx.Line($"mad.lo.s32 {to}, row, {PanelRowBytes}, t;");
        ptx.Line($"mul.wide.u32 from, chunk, 16; add.s64 tm_weights, tm_weights, from; mul.wide.u32 from, row, {PanelRowBytes}; add.s64 tm_weights, tm_weights, from;");
    }

    protected void ZeroSums(PtxWriter ptx)
    {
        for (var i = 0; i < Sums; i++)
        {
            ptx.Line($"mov.f32 tm_sum{i}, 0f00000000;");
        }
    }
}
