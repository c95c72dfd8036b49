using StableDiffusion.Ilgpu.Compilation.Rules;
using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>
/// Rewrites a recorded graph into fewer launches. Every rule lets the last value of the group that it fuses be computed by one
/// operation, in its place: shapes, rates, outputs and the order of the values stay as they are. No rule removes an output's value,
/// computes a value twice or lets one that changes seldom be computed in a faster program.
/// </summary>
internal static class FusionRules
{
    /// <summary>
    /// The order matters: siblings merge before other rules give them an epilogue, and an epilogue fills up in the order of its
    /// application (item bias, activation, residual, an activation of the sum).
    /// </summary>
    public static void Apply(Graph graph, FusionOptions options)
    {
        Run(options.MergeSiblings, DropDuplicates.Apply);
        Run(options.MergeSiblings, MergeSiblings.Apply);
        Run(options.FoldResize, FoldResize.Apply);
        Run(options.FuseGeglu, FuseGeglu.Apply);
        Run(options.FuseItemBias, FuseItemBias.Apply);
        Run(options.FuseActivation, FuseActivation.Apply);
        Run(options.FuseResidual, FuseResidual.Apply);
        Run(options.FuseActivation, FuseSumActivation.Apply);
        Run(options.FuseNormSilu, FuseNormSilu.Apply);

        // What a rule has fused away must not count as a use for the next one.
        void Run(bool enabled, Action<Graph> rule)
        {
            if (enabled)
            {
                rule(graph);
                graph.RemoveUnused();
            }
        }
    }
}
