import { workerBundle } from '../../scripts/bundles/worker.ts';
import { describeBundle } from '../scripts/describe-bundle.ts';

describeBundle(workerBundle, 'src/db/tcp.ts');
